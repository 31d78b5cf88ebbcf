from __future__ import annotations

import numpy as np

from compiler.optimize.quantize.smoothing import Channels, channels, smooth
from tests.optimize.graphs import random


def seen(values: np.ndarray) -> Channels:
    return channels([{"x": values}])["x"]


def test_channels_remember_extremes_and_power_over_feeds() -> None:
    found = channels([{"x": np.array([[1, -2]], np.float32)}, {"x": np.array([[[-3, 0]]], np.float32)}])["x"]
    np.testing.assert_array_equal(found.largest, [3, 2])
    np.testing.assert_array_equal(found.power, [5, 2])


def test_a_loud_channel_is_made_quieter() -> None:
    values = random(200, 32)
    values[:, 7] *= 50
    factors = smooth(seen(values), [random(32, 16, seed=1), random(32, 16, seed=2)])
    assert factors is not None
    assert factors[7] < 0.3 * np.delete(factors, 7).min()
    assert abs(np.log2(factors).mean()) < 1e-5


def test_even_channels_are_left_as_they_are() -> None:
    values = np.where(random(200, 32) > 0, 1, -1).astype(np.float32)
    weight = np.where(random(32, 16, seed=1) > 0, 1, -1).astype(np.float32)
    assert smooth(seen(values), [weight]) is None


def test_channels_that_never_moved_keep_their_size() -> None:
    values = random(200, 32)
    values[:, 7] *= 50
    values[:, 3] = 0
    weight = random(32, 16, seed=1)
    weight[4] = 0
    factors = smooth(seen(values), [weight])
    assert factors is not None
    assert factors[3] == factors[4] == 1
    assert smooth(seen(np.zeros((4, 32), np.float32)), [weight]) is None


def test_rows_with_scales_of_their_own_are_smoothed_for_what_is_usual() -> None:
    """One loud row says little then; a channel that is loud in all of them says much."""
    weight = random(32, 16, seed=1)
    loud_row, loud_channel = random(200, 32), random(200, 32)
    loud_row[7, 3] *= 200
    loud_channel[:, 7] *= 50
    assert smooth(seen(loud_row), [weight]) is not None
    assert smooth(seen(loud_row), [weight], per_row=True) is None
    factors = smooth(seen(loud_channel), [weight], per_row=True)
    assert factors is not None
    assert factors[7] < 0.3 * np.delete(factors, 7).min()


def test_narrower_weights_take_over_less() -> None:
    values = random(200, 32)
    values[:, 7] *= 6
    weight = random(32, 16, seed=1)
    fine, coarse = (smooth(seen(values), [weight], top=top, per_row=True) for top in (127, 7))
    assert fine is not None
    assert coarse is not None
    assert fine[7] < 0.8 * coarse[7]


def test_kept_rows_come_from_all_batches() -> None:
    batches = [{"x": np.full((1000, 2), index, np.float32)} for index in range(8)]
    rows = channels(batches, len(batches))["x"].rows
    assert 128 < len(rows) <= 256
    assert set(rows[:, 0]) == set(range(8))
