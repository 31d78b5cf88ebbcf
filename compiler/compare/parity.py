"""The parity findings of both certificates, by how much of their limit is used up."""

from __future__ import annotations

from math import isfinite

from compiler.compare.gates import Gates
from compiler.compare.judge import exactly, judged
from compiler.records import Certificate, Finding
from compiler.records.comparison import Verdict


def verdicts(baseline: Certificate, candidate: Certificate, gates: Gates) -> list[Verdict]:
    """One for every finding that both have and that has a limit: the baseline's limit holds for both."""
    after = {finding.name: finding for finding in candidate.checked.findings}
    return [
        _verdict(finding, after[finding.name], gates)
        for finding in baseline.checked.findings
        if finding.name in after and finding.limit is not None
    ]


def used(finding: Finding, limit: float) -> float:
    """The share of the way from a perfect value to the limit: 1 is at the limit, more is outside."""
    perfect = 1.0 if finding.better == "higher" or finding.unit == "ratio" else 0.0
    if not isfinite(finding.value):
        return float("inf")
    away = abs(finding.value - perfect) if (finding.value > perfect) == (finding.better == "lower") else 0.0
    room = abs(limit - perfect)
    return away / room if room else (float("inf") if away else 0.0)


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
