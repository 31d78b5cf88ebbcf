"""The parity findings of both certificates, by how much of their limit is used up."""

from __future__ import annotations

from math import isfinite

from msgspec.structs import replace

from compiler.compare.gates import Gates
from compiler.compare.judge import exactly, judged
from compiler.records import Certificate, Finding
from compiler.records.comparison import Verdict


def verdicts(baseline: Certificate, candidate: Certificate, gates: Gates) -> list[Verdict]:
    """One for every finding that both have and that has a limit: the baseline's limit holds for both.

    And one for each that only the candidate has, and that is outside its own limit: answers of another shape, or NaN,
    leave nothing else to compare.
    """
    before, after = _every(baseline), _every(candidate)
    both = [
        _verdict(each, after[name], gates) for name, each in before.items() if name in after and each.limit is not None
    ]
    return both + [_new(each, gates) for name, each in after.items() if name not in before and not each.passed]


def _every(certificate: Certificate) -> dict[str, Finding]:
    """The model's findings and its adapters', these under their names."""
    found = {finding.name: finding for finding in certificate.checked.findings}
    for adapter, findings in certificate.checked.adapters.items():
        found |= {(name := f"{adapter}.{each.name}"): replace(each, name=name) for each in findings}
    return found


def used(finding: Finding, limit: float) -> float:
    """The share of the way from a perfect value to the limit: 1 is at the limit, more is outside."""
    perfect = _perfect(finding)
    if not isfinite(finding.value):
        return float("inf")
    away = abs(finding.value - perfect) if (finding.value > perfect) == (finding.better == "lower") else 0.0
    room = abs(limit - perfect)
    return away / room if room else (float("inf") if away else 0.0)


def _perfect(finding: Finding) -> float:
    return 1.0 if finding.better == "higher" or finding.unit == "ratio" else 0.0


def _new(finding: Finding, gates: Gates) -> Verdict:
    return judged(
        "parity",
        finding.name,
        (_perfect(finding), finding.value),
        exactly(1.0 + 2 * gates.parity.max_increase),
        unit=finding.unit,
        better=finding.better,
        margin=gates.parity.max_increase,
        enforce=gates.parity.enforce,
        code="parity-loss",
        samples=finding.samples,
        test=f"outside its own limit {finding.limit:.4g}; the baseline has no such finding",
    )


def _verdict(before: Finding, after: Finding, gates: Gates) -> Verdict:
    limit = before.limit
    if limit is None:
        raise AssertionError("only findings with a limit are judged")
    first, second = used(before, limit), used(after, limit)
    # Over the limit is worse however little was missing before, and all that is outside is alike.
    outside = second > 1 >= first
    change = 1.0 + gates.parity.max_increase if outside else min(second, 2.0) - min(first, 2.0)
    return judged(
        "parity",
        before.name,
        (before.value, after.value),
        exactly(change),
        unit=before.unit,
        better=before.better,
        margin=gates.parity.max_increase,
        enforce=gates.parity.enforce,
        code="parity-loss",
        samples=min(before.samples, after.samples),
        test=f"share of the limit {limit:.4g} used, the same texts",
    )
