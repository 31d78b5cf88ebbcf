"""What fails in a report beside the bundles' own verdicts, in a line each."""

from __future__ import annotations

from compiler.records.document import Report
from compiler.report.evaluated import judged


def found_beside(report: Report) -> list[str]:
    """Failed comparisons, what a bundle gives away, and layers outside their limit."""
    failed = [
        f"{each.candidate.location} against {each.baseline.location} FAIL ({', '.join(each.reasons)})"
        for each in report.comparisons
        if each.verdict == "fail"
    ]
    for evaluated in report.evaluations:
        name = judged(evaluated, report.entries)
        failed += [
            f"{name} on {evaluated.data} FAIL ({finding.name})" for finding in evaluated.findings if not finding.passed
        ]
    failed += [f"layer by layer: {each.first} is outside its limit" for each in report.divergences if each.first]
    return failed
