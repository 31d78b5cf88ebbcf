from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.quantize.blocks import Layout, fit, round_compensated, round_nearest
from tests.optimize.graphs import random


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "limit"), [(4, 0.6), (8, 0.6)])
def test_rounding_is_within_half_a_step(bits: int, limit: float, symmetric: bool) -> None:
    weight = random(96, 40)
    layout = Layout(bits, 32, symmetric)
    scales, zeros = fit(weight, layout)
    blocks = round_nearest(weight, scales, zeros, layout)
    inside = (blocks.codes > 0) & (blocks.codes < layout.top)
    steps = np.abs(blocks.dequantize() - weight) / np.abs(np.repeat(scales, 32, axis=0))
    assert steps[inside].max() <= limit
    assert inside.mean() > 0.6


def test_rows_that_do_not_fill_a_block_are_padded() -> None:
    weight = random(72, 20)
    layout = Layout(4, 32, False)
    blocks = round_nearest(weight, *fit(weight, layout), layout)
    assert blocks.codes.shape == (96, 20)
    assert blocks.dequantize().shape == weight.shape
    assert np.corrcoef(blocks.dequantize().ravel(), weight.ravel())[0, 1] > 0.99


def test_a_weight_that_lies_on_a_grid_is_kept_exactly() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 16, (64, 24))
    codes[::32], codes[1::32] = 0, 15
    scale = np.repeat(rng.uniform(0.01, 0.02, (2, 24)), 32, axis=0)
    weight = ((codes - 6) * scale).astype(np.float32)
    layout = Layout(4, 32, False)
    blocks = round_nearest(weight, *fit(weight, layout), layout)
    np.testing.assert_array_equal(blocks.codes, codes)
    np.testing.assert_allclose(blocks.dequantize(), weight, atol=1e-6)


@pytest.mark.parametrize(
    ("codes", "layout"),
    [((-8, 7), Layout(4, 32, False)), ((-8, 7), Layout(8, 32, True)), ((-127, 127), Layout(8, 32, True))],
    ids=["Q4_0", "Q4_0 in 8 bits", "Q8_0"],
)
def test_a_weight_that_was_stored_around_zero_is_kept_exactly(codes: tuple[int, int], layout: Layout) -> None:
    """Of such a block one extreme has the outermost code, and the other any."""
    rng = np.random.default_rng(0)
    low, high = codes
    stored = rng.integers(low // 2, high // 2 + 1, (64, 24))
    stored[::32] = low
    weight = (stored * np.repeat(rng.uniform(0.01, 0.02, (2, 24)), 32, axis=0)).astype(np.float32)
    weight[:, ::2] *= -1
    kept = round_nearest(weight, *fit(weight, layout), layout).dequantize()
    np.testing.assert_allclose(kept, weight, rtol=1e-5, atol=1e-7)


def test_a_planted_outlier_is_weighed_against_the_rest() -> None:
    weight = random(32, 1) * 0.1
    weight[3] = 1.0
    indifferent = np.ones(32, np.float32)
    indifferent[3] = 1e-6
    layout = Layout(4, 32, False)
    rest = np.arange(32) != 3
    errors = [
        np.abs(round_nearest(weight, *fit(weight, layout, importance), layout).dequantize() - weight)[rest].mean()
        for importance in (indifferent, None)
    ]
    assert errors[0] < errors[1]


def test_all_zero_and_constant_blocks() -> None:
    for value in (0.0, 0.5, -0.5):
        weight = np.full((32, 3), value, np.float32)
        for symmetric in (True, False):
            layout = Layout(4, 32, symmetric)
            blocks = round_nearest(weight, *fit(weight, layout), layout)
            np.testing.assert_allclose(blocks.dequantize(), weight, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_compensation_lowers_the_error_of_the_product(symmetric: bool) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((400, 12)) @ rng.standard_normal((12, 64)) + rng.standard_normal((400, 64)) / 5).astype(
        np.float32
    )
    weight = random(64, 48)
    layout = Layout(4, 32, symmetric)
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


def test_an_input_that_was_always_zero_does_not_break_compensation() -> None:
    x = random(100, 40)
    x[:, 7] = 0
    weight = random(40, 16)
    layout = Layout(4, 32, False)
    moments = x.T @ x
    blocks = round_compensated(weight, *fit(weight, layout, np.diag(moments)), layout, moments)
    assert np.isfinite(blocks.dequantize()).all()
