from __future__ import annotations

import numpy as np
import pytest

from compiler.statistics import drift, interval, ratio_of_medians, summarize


def test_summary_of_known_values() -> None:
    summary = summarize(range(101))
    assert summary == (101, 50.0, 90.0, 99.0, 50.0)


def test_one_sample_has_no_spread() -> None:
    assert summarize([3.0]) == (1, 3.0, 3.0, 3.0, 0.0)


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarize([])


def test_the_ratio_is_that_of_the_medians() -> None:
    ratio = ratio_of_medians([2.0, 4.0, 6.0], [1.0, 2.0, 30.0])
    assert ratio.value == 2.0
    assert ratio.low < ratio.value < ratio.high


def test_constant_samples_leave_no_doubt() -> None:
    assert ratio_of_medians([9.0] * 5, [3.0] * 7) == (3.0, 3.0, 3.0)


def test_the_interval_is_reproducible_and_narrows_with_samples() -> None:
    random = np.random.default_rng(3)
    few, many = (
        ratio_of_medians(random.normal(20, 2, n).tolist(), random.normal(10, 1, n).tolist()) for n in (10, 1000)
    )
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert many.low < 2.0 < many.high
    assert ratio_of_medians([1.0, 2.0, 3.0], [1.0, 2.0]) == ratio_of_medians([1.0, 2.0, 3.0], [1.0, 2.0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    intervals = [
        ratio_of_medians(random.lognormal(1, 0.3, 40).tolist(), random.lognormal(0, 0.3, 40).tolist())
        for _ in range(120)
    ]
    covered = sum(ratio.low <= np.e <= ratio.high for ratio in intervals)
    assert covered / len(intervals) > 0.88


@pytest.mark.parametrize(
    ("successes", "samples", "low", "high"),
    [
        (8, 10, 0.49016, 0.94332),
        (39, 41, 0.83861, 0.98652),
        (41, 41, 0.91433, 1.0),
        (0, 10, 0.0, 0.27753),
        (1457, 1530, 0.94043, 0.96188),
    ],
)
def test_the_interval_of_a_share(successes: int, samples: int, low: float, high: float) -> None:
    """scipy's binomtest(successes, samples).proportion_ci(method="wilson")."""
    assert interval(successes, samples) == pytest.approx((low, high), abs=1e-5)


def test_a_share_of_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no samples"):
        interval(0, 0)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([2.0, 2.0, 3.0, 3.0], 0.5),
        ([3.0, 3.0, 2.0, 2.0], -0.5),
        ([2.0, 9.0, 2.0, 2.0, 2.0, 9.0], 0.0),
        ([1.0, 4.0], 3.0),
    ],
)
def test_drift_is_how_far_the_second_half_lies_from_the_first(samples: list[float], expected: float) -> None:
    assert drift(samples) == expected
