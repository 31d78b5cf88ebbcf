"""What both are made of: size, fusions, and what the weights are stored as."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from compiler.compare.gates import Gates
from compiler.compare.judge import exactly, judged
from compiler.compare.precisions import lowered
from compiler.compare.sides import Opened
from compiler.records import Certificate
from compiler.records.comparison import Verdict


class Family(NamedTuple):
    """`fused` operators do what several did; when one comes apart, one of `parts` shows for each."""

    fused: frozenset[str]
    parts: frozenset[str]


def _family(fused: str, parts: str) -> Family:
    return Family(frozenset(fused.split()), frozenset(parts.split()))


FAMILIES: dict[str, Family] = {
    "attention": _family(
        "Attention MultiHeadAttention GroupQueryAttention DecoderMaskedMultiHeadAttention QAttention", "Softmax"
    ),
    "normalization": _family(
        "LayerNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization"
        " SkipSimplifiedLayerNormalization EmbedLayerNormalization",
        "ReduceMean Pow",
    ),
    "sum before a normalization": _family(
        "SkipLayerNormalization SkipSimplifiedLayerNormalization EmbedLayerNormalization", "Add"
    ),
    "activation": _family("Gelu BiasGelu FastGelu QuickGelu Swish", "Erf Tanh Sigmoid"),
    "rotation": _family("RotaryEmbedding GroupQueryAttention", "Neg"),
    "product": _family("FusedMatMul FusedGemm", "Transpose"),
    "quantized product": _family(
        "MatMulIntegerToFloat DynamicQuantizeMatMul QLinearMatMul QGemm MatMulNBits", "MatMulInteger DequantizeLinear"
    ),
}


def operators(certificate: Certificate) -> dict[str, int]:
    """Nodes by operator, as they really ran."""
    counts: Counter[str] = Counter()
    for row in certificate.placement:
        counts[row.operator] += row.count
    return dict(sorted(counts.items()))


def fusions(certificate: Certificate) -> dict[str, int]:
    """Fused nodes by what they are for; one that does two of these things counts for both."""
    counts = operators(certificate)
    return {name: _count(counts, family.fused) for name, family in FAMILIES.items()}


def lost_fusions(baseline: Certificate, candidate: Certificate) -> dict[str, int]:
    """How many fused nodes came apart, by what they are for: there are fewer of them, and more of their parts."""
    before, after = operators(baseline), operators(candidate)
    falls = {name: _count(before, family.fused) - _count(after, family.fused) for name, family in FAMILIES.items()}
    rises = {
        name: max(after.get(part, 0) - before.get(part, 0) for part in family.parts)
        for name, family in FAMILIES.items()
    }
    return {name: lost for name in FAMILIES if (lost := min(falls[name], rises[name])) > 0}


def _count(counts: dict[str, int], names: frozenset[str]) -> int:
    return sum(counts.get(name, 0) for name in names)


def disk_bytes(baseline: Opened, candidate: Opened) -> tuple[int, int] | None:
    """All files on disk of both, else those of the engine alone; None where neither is known of both."""
    if baseline.manifest and candidate.manifest:
        before, after = (
            sum(file.size for file in each.files.values()) for each in (baseline.manifest, candidate.manifest)
        )
        return before, after
    first, second = baseline.certificate.measured, candidate.certificate.measured
    return (first.engine.disk_bytes, second.engine.disk_bytes) if first and second else None


def verdicts(baseline: Opened, candidate: Opened, gates: Gates) -> list[Verdict]:
    """On size, fusions and precision; exact, each as far as both sides tell."""
    found = []
    if sizes := disk_bytes(baseline, candidate):
        before, after = sizes
        found.append(
            judged(
                "size",
                "disk",
                (before, after),
                exactly(after / before - 1),
                unit="bytes",
                relative=True,
                margin=gates.size.max_increase,
                enforce=gates.size.enforce,
                code="size-increase:disk",
                samples=1,
                test="exact",
            )
        )
    first, second = fusions(baseline.certificate), fusions(candidate.certificate)
    lost = lost_fusions(baseline.certificate, candidate.certificate)
    gained = sum(lost_fusions(candidate.certificate, baseline.certificate).values())
    found.append(
        judged(
            "fusions",
            "in all",
            (sum(first.values()), sum(second.values())),
            exactly(sum(lost.values()) or -gained),
            unit="fused nodes",
            better="higher",
            margin=gates.fusions.lost,
            enforce=gates.fusions.enforce,
            code="fusions:lost",
            samples=1,
            test=f"came apart: {', '.join(f'{count} of {name}' for name, count in lost.items())}" if lost else "exact",
        )
    )
    shared = set(baseline.precisions) & set(candidate.precisions)
    down = len(lowered(baseline.precisions, candidate.precisions))
    up = len(lowered(candidate.precisions, baseline.precisions))
    if shared:
        found.append(
            judged(
                "precision",
                "lowered",
                (0, down),
                exactly(down or -up),
                unit="modules",
                margin=gates.precision.lowered,
                enforce=gates.precision.enforce,
                code="precision:lowered",
                samples=len(shared),
                test="exact",
            )
        )
    return found
