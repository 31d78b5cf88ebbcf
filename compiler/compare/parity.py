"""The parity findings of both certificates, by how much of their limit is used up."""

from __future__ import annotations

from math import isfinite

from msgspec.structs import replace

from compiler.compare.gates import Gates
from compiler.compare.judge import exactly, judged
from compiler.figures import all_beside, exact
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
    if not isfinite(finding.value):
        return float("inf")
    away, room = _away(finding), abs(limit - _perfect(finding))
    return away / room if room else (float("inf") if away else 0.0)


def _away(finding: Finding) -> float:
    """How far its value lies from a perfect one on the side of the limit, in its unit."""
    perfect = _perfect(finding)
    return abs(finding.value - perfect) if (finding.value > perfect) == (finding.better == "lower") else 0.0


def _perfect(finding: Finding) -> float:
    return 1.0 if finding.better == "higher" or finding.unit == "ratio" else 0.0


def _new(finding: Finding, gates: Gates) -> Verdict:
    return judged(
        "parity",
        finding.name,
        (None, finding.value),
        None,
        unit=finding.unit,
        better=finding.better,
        margin=0.0,
        enforce=gates.parity.enforce,
        code=f"parity-loss:{finding.name}",
        samples=finding.samples,
        test=f"{'undecided at' if finding.undecided else 'outside'} its own limit {finding.shown_limit}"
        f" ({finding.shown}); the baseline has no such finding",
    )


def _verdict(before: Finding, after: Finding, gates: Gates) -> Verdict:
    limit = before.limit
    if limit is None:
        raise AssertionError("only findings with a limit are judged")
    first, second = used(before, limit), used(after, limit)
    in_unit = limit == _perfect(before) or not (isfinite(first) and isfinite(second))
    if in_unit:  # such a limit allows nothing, and has no shares
        change = exactly(_away(after) - _away(before)) if isfinite(after.value) else None
        margin, test = 0.0, f"against the limit {exact(limit)}, the same texts"
    else:
        change = exactly(second - first)
        # Never out of the limit, however much the gate allows within; where the baseline is out, no farther than that.
        margin = min(gates.parity.max_increase, 1.0 - first) if first <= 1 else gates.parity.max_increase
        shares, _ = all_beside((first, second), 1.0)
        test = f"share of the limit {exact(limit)} used: {shares[0]} and {shares[1]}, the same texts"
    return judged(
        "parity",
        before.name,
        (before.value, after.value),
        change,
        unit=before.unit,
        better=before.better,
        margin=margin,
        enforce=gates.parity.enforce,
        code=f"parity-loss:{before.name}",
        samples=min(before.samples, after.samples),
        test=test,
        in_unit=in_unit,
    )
