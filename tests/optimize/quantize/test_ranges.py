from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.quantize.ranges import BINS, Histogram, Method, choose


def filled(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


def rounding_error(values: np.ndarray, low: float, high: float) -> float:
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    codes = np.clip(np.rint(values / scale) + zero, 0, 255)
    return float(np.mean(((codes - zero) * scale - values) ** 2))


def test_a_histogram_fed_in_parts_equals_one_fed_at_once() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(1000) * scale for scale in (0.1, 3, 0.5, 40)]
    apart, together = filled(*parts), filled(np.concatenate(parts))
    assert apart.reach == together.reach
    assert apart.counts.sum() == 4000
    np.testing.assert_allclose(np.cumsum(apart.counts), np.cumsum(together.counts), atol=1000)
    assert (apart.low, apart.high) == (together.low, together.high)


def test_minmax_keeps_everything_and_zero() -> None:
    assert choose(filled(np.array([2.0, 7.0])), "minmax") == (0.0, 7.0)
    assert choose(filled(np.array([-3.0, -1.0])), "minmax") == (-3.0, 0.0)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_planted_outliers_are_clipped(method: Method) -> None:
    rng = np.random.default_rng(0)
    bulk = rng.standard_normal(200_000)
    histogram = filled(bulk, np.array([60.0, -45.0]))
    low, high = choose(histogram, method)
    assert -10 < low < -2
    assert 2 < high < 10
    assert rounding_error(bulk, low, high) < rounding_error(bulk, *choose(histogram, "minmax")) / 10


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_a_one_sided_distribution_wastes_nothing_on_the_other_side(method: Method) -> None:
    values = np.abs(np.random.default_rng(0).standard_normal(100_000))
    low, high = choose(filled(values), method)
    assert low == 0.0
    assert 2 < high <= values.max()


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("values", [np.zeros(9), np.full(9, 0.25), np.array([]), np.array([np.nan, 1.0])])
def test_degenerate_values_still_give_a_range(method: Method, values: np.ndarray) -> None:
    low, high = choose(filled(values), method)
    assert low <= 0 <= high
    assert np.isfinite([low, high]).all()


def test_a_value_at_the_very_edge_is_counted() -> None:
    histogram = filled(np.array([4.0, -4.0]))
    assert histogram.counts.sum() == 2
    assert histogram.counts[0] == histogram.counts[BINS - 1] == 1
