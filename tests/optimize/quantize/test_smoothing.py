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
