"""What a report shows of a value has as many digits as it takes to see on which side of a limit it lies."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from compiler.report import single
from compiler.report.changes import changes
from tests.report.reports import ALL, DIVERGED, LAYERS
from tests.report.test_formats import FORMATS
from tests.report.test_page import GOOD, Page, certificate


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_what_fails_is_shown_on_the_failing_side_of_its_limit(form: str) -> None:
    near = replace(GOOD, value=0.99940152, limit=0.99940157)
    few = replace(GOOD, name="top1.agreement", value=0.95, limit=0.9, low=0.8, high=0.99)
    layer = replace(LAYERS[0], error=0.10000001, limit=0.1)
    over = replace(
        ALL.comparisons[0].verdicts[0],
        baseline=0.99940157,
        candidate=0.99940152,
        change=0.0300000001,
        low=0.03000000001,
        high=0.04,
    )
    report = replace(
        single(certificate(near, few), "x", "x"),
        comparisons=(replace(ALL.comparisons[0], verdicts=(over,)),),
        divergences=(replace(DIVERGED, layers=(layer,)),),
    )
    said = FORMATS[form](report)
    shown = Page(said).text if form == "html" else said.replace("&#8805;", "≥")
    for words in ("≥ 0.99940157", "0.9994015 ", "0.10000001", "undecided", "+3.00000001", "+3.000000001", "0.9994016"):
        assert words.lower() in shown.lower(), words
    if form == "html":  # what a machine reads is not rounded
        assert {0.99940152, 0.99940157, 0.10000001, 100 * 0.03000000001} <= {value for value, _ in Page(said).numbers}


def test_limits_that_nearly_agree_are_a_change() -> None:
    before, after = ALL.entries[0], ALL.entries[0]
    other = replace(after, certificate=replace(after.certificate, budget={"min_cosine": 0.98000001}))
    assert [(row.name, row.values) for row in changes((before, other))] == [
        ("budget min_cosine", ("0.98", "0.98000001"))
    ]
