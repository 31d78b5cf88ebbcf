"""Which weights of a graph get few bits and which get more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Feeds
from compiler.optimize.quantize.blocks import Blocks, Layout, damage, fit, round_compensated, round_nearest
from compiler.optimize.quantize.moments import second_moments
from compiler.optimize.quantize.products import Product


def quantize_mixed(
    model: ir.Model,
    body: Sequence[Product],
    *,
    coarse: Layout,
    fine: Layout,
    fine_share: float,
    feeds: Sequence[Feeds] | None,
) -> Iterator[tuple[Product, Blocks]]:
    """Quantize every product's weight, at most `fine_share` of all their values on the fine grid.

    First to get it are products with fewer outputs than inputs: the way down of a feed-forward block, whose inputs
    hold a network's largest outliers. Then come those whose coarse rounding changes their results most.

    Args:
        feeds: calibration inputs, for rounding that compensates its own errors; None rounds to the nearest.
    """
    left = fine_share * sum(product.array().size for product in body)
    others = []
    for product in body:
        weight = product.array()
        if weight.size <= left and len(weight) > weight.shape[1]:
            left -= weight.size
            yield product, nearest(weight, fine)
        else:
            others.append(product)
    rounded = list(_coarse(model, others, coarse, feeds))
    for product, blocks, _ in sorted(rounded, key=lambda result: -result[2]):
        weight = product.array()
        if weight.size <= left:
            left -= weight.size
            yield product, nearest(weight, fine)
        else:
            yield product, blocks


def nearest(weight: np.ndarray, layout: Layout) -> Blocks:
    return round_nearest(weight, *fit(weight, layout), layout)


def _coarse(
    model: ir.Model, body: Sequence[Product], layout: Layout, feeds: Sequence[Feeds] | None
) -> Iterator[tuple[Product, Blocks, float]]:
    """Every product with its coarse weight and what that does to its results."""
    if feeds is None:
        for product in body:
            weight = product.array()
            blocks = nearest(weight, layout)
            yield product, blocks, damage(weight, blocks)
        return
    for product, moments in second_moments(model, body, feeds):
        weight = product.array()
        scales, zeros = fit(weight, layout, np.diag(moments))
        blocks = round_compensated(weight, scales, zeros, layout, moments)
        yield product, blocks, damage(weight, blocks, moments)
