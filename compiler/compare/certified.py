"""Whether the candidate is within its own limits: what its certificate says of it, whatever the baseline's says."""

from __future__ import annotations

from compiler.compare.gates import Gates
from compiler.compare.judge import exactly, judged
from compiler.records import Certificate
from compiler.records.comparison import Verdict


def verdict(baseline: Certificate, candidate: Certificate, gates: Gates) -> Verdict:
    """By the number of reasons for which each certificate says FAIL. A baseline that fails excuses no candidate."""
    before, after = _reasons(baseline), _reasons(candidate)
    said = f"the candidate's own certificate: FAIL ({', '.join(after)})" if after else "both certificates"
    return judged(
        "certificate",
        "fail",
        (len(before), len(after)),
        exactly(len(after) - len(before)),
        unit="reasons",
        margin=0.0,
        enforce=gates.certificate.enforce,
        code="certificate:fail",
        samples=len(candidate.checked.findings),
        test=said,
        failed=bool(after),
    )


def _reasons(certificate: Certificate) -> tuple[str, ...]:
    unnamed = ("no reason named",) if certificate.verdict == "fail" else ()
    return certificate.reasons or unnamed
