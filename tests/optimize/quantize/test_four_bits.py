from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.quantize.blocks import Layout, fit, round_compensated, round_nearest
from compiler.optimize.quantize.four_bits import Float4, Int4, Signed
from compiler.optimize.quantize.mixed import nearest
from tests.optimize.graphs import random

LAYOUTS = [Int4(block_size=32), Float4()]
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def test_float4_codes_are_the_numbers_of_e2m1() -> None:
    codes = Float4().nearest(np.linspace(-30, 30, 2001, dtype=np.float32), np.float32(12))
    np.testing.assert_array_equal(np.unique(codes), np.unique(12 + 2 * np.concatenate([-E2M1, E2M1])))


def test_every_value_gets_the_nearest_number_of_e2m1() -> None:
    numbers = np.concatenate([-E2M1, E2M1])
    values = np.random.default_rng(0).uniform(-6, 6, 1000).astype(np.float32)
    found = (Float4().nearest(2 * values, np.float32(12)) - 12) / 2
    np.testing.assert_allclose(np.abs(found - values), np.abs(values[:, None] - numbers).min(axis=1), atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)
def test_a_weight_that_lies_on_a_grid_is_kept_exactly(layout: Signed) -> None:
    rng = np.random.default_rng(0)
    if isinstance(layout, Float4):
        numbers = rng.choice(np.concatenate([-E2M1, E2M1]), (64, 24))
        numbers[::16], numbers[1::16] = 6, -6
    else:
        numbers = rng.integers(-8, 8, (64, 24)).astype(np.float32)
        numbers[::32], numbers[1::32] = -8, 7
    scales = rng.choice([0.25, 0.375, 0.5, 1.0], (64 // layout.block_size, 24)).astype(np.float32) / 64
    weight = numbers * np.repeat(scales, layout.block_size, axis=0)
    np.testing.assert_array_equal(nearest(weight, layout).dequantize(), weight)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)
def test_scales_that_were_stored_are_stored_again_as_they_are(layout: Signed) -> None:
    for seed in range(20):
        scales = np.exp(3 * random(5, 40, seed=seed)) / 100
        stored = layout.storable(scales)
        np.testing.assert_array_equal(layout.storable(stored), stored)
        assert (stored > 0).all()


def test_positive_scales_cost_little() -> None:
    """Against a grid whose scales may have the sign that brings the extreme to the ninth code on its side."""
    weight = random(512, 64)
    errors = [
        np.square(nearest(weight, layout).dequantize() - weight).mean()
        for layout in (Int4(block_size=64), Layout(4, 64, symmetric=True))
    ]
    assert errors[0] < 1.15 * errors[1]


def test_small_blocks_of_floats_beat_large_blocks_of_integers_on_long_tails() -> None:
    weight = np.random.default_rng(0).standard_t(4, (512, 64)).astype(np.float32)
    errors = [
        np.square(nearest(weight, layout).dequantize() - weight).mean() for layout in (Float4(), Int4(block_size=64))
    ]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)
def test_compensation_lowers_the_error_of_the_product(layout: Signed) -> None:
    x = random(400, 12) @ random(12, 64, seed=1) + random(400, 64, seed=2) / 5
    weight = random(64, 48, seed=3)
    moments = x.T @ x
    scales, zeros = fit(weight, layout, np.diag(moments))
    errors = [
        np.linalg.norm(x @ blocks.dequantize() - x @ weight)
        for blocks in (
            round_compensated(weight, scales, zeros, layout, moments),
            round_nearest(weight, scales, zeros, layout),
        )
    ]
    assert errors[0] < 0.6 * errors[1]
