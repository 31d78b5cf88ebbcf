from __future__ import annotations

import pytest

from compiler.compare.judge import exactly, judged, more_samples, word
from compiler.records.comparison import Verdict, Word
from compiler.statistics import Estimate


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.04, 0.06, "worse"),
        (-0.01, 0.02, "same"),
        (0.01, 0.02, "same"),
        (-0.03, 0.03, "same"),
        (-0.10, -0.05, "better"),
        (-0.10, -0.01, "better"),
        (0.02, 0.05, "not enough data"),
        (-0.05, 0.05, "not enough data"),
        (-0.05, 0.01, "not enough data"),
    ],
)
def test_a_word_for_an_interval_with_a_margin_of_3_percent(low: float, high: float, said: Word) -> None:
    assert word(Estimate((low + high) / 2, low, high), 0.03) == said


def test_a_margin_of_zero() -> None:
    assert word(exactly(0), 0) == "same"
    assert word(exactly(1), 0) == "worse"
    assert word(exactly(-1), 0) == "better"


def test_four_times_the_samples_halve_an_interval() -> None:
    more = more_samples(Estimate(0.0, -0.06, 0.06), 0.03, 100)
    assert more == pytest.approx(300, rel=0.06)


def test_no_number_of_samples_decides_what_lies_on_the_margin() -> None:
    assert more_samples(Estimate(0.03, 0.01, 0.05), 0.03, 100) is None
    assert more_samples(Estimate(0.0, -0.01, 0.01), 0.03, 100) == 0


def one(change: Estimate, *, enforce: bool = True, least: int = 0) -> Verdict:
    return judged(
        "latency",
        "x",
        (1.0, 2.0),
        change,
        unit="ms",
        margin=0.03,
        enforce=enforce,
        code="slow:x",
        samples=9,
        test="t",
        least=least,
    )


def test_only_an_enforced_gate_is_broken() -> None:
    broken = one(Estimate(0.1, 0.05, 0.2))
    assert (broken.word, broken.broken, broken.code, broken.more) == ("worse", True, "slow:x", None)
    shown = one(Estimate(0.1, 0.05, 0.2), enforce=False)
    assert (shown.word, shown.broken, shown.code) == ("worse", False, "")


def test_too_few_samples_forbid_a_word_and_exact_values_have_no_interval() -> None:
    few = one(Estimate(0.1, 0.05, 0.2), least=11)
    assert (few.word, few.broken, few.more) == ("not enough data", False, 11)
    assert one(Estimate(0.0, -0.06, 0.06), least=11).more == 29  # those that decide, not only those that may
    exact = one(exactly(0.01))
    assert (exact.low, exact.high, exact.word) == (None, None, "same")
