"""Which weights of a graph get few bits and which get more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Feeds
from compiler.optimize.quantize.blocks import Blocks, Layout, fit, round_compensated, round_nearest
from compiler.optimize.quantize.moments import second_moments
from compiler.optimize.quantize.products import Product


def distinct(found: Sequence[Product]) -> list[Product]:
    """The first product of every weight."""
    return list({product.key: product for product in reversed(found)}.values())[::-1]


def split(body: Sequence[Product], fine_share: float) -> tuple[list[Product], list[Product]]:
    """Products whose weights get 8 bits, up to `fine_share` of all their values, and the others.

    Products with the fewest outputs an input get them first: the way down of a feed-forward block, whose inputs hold
    a network's largest outliers, then attention's output. The wide way up bears coarse weights best.
    """
    left = fine_share * sum(product.array().size for product in body)
    fine, coarse = [], []
    for product in sorted(body, key=_outputs_per_input):
        size = product.array().size
        if size <= left:
            left -= size
            fine.append(product)
        else:
            coarse.append(product)
    return fine, coarse


def in_blocks(
    model: ir.Model, body: Sequence[Product], layout: Layout, feeds: Sequence[Feeds] | None
) -> Iterator[tuple[Product, Blocks]]:
    """Quantize every product's weight.

    Args:
        feeds: calibration inputs, for rounding that compensates its own errors; None rounds to the nearest.
    """
    if feeds is None:
        yield from ((product, nearest(product.array(), layout)) for product in body)
        return
    for product, moments in second_moments(model, body, feeds):
        weight = product.array()
        scales, zeros = fit(weight, layout, np.diag(moments))
        yield product, round_compensated(weight, scales, zeros, layout, moments)


def nearest(weight: np.ndarray, layout: Layout) -> Blocks:
    return round_nearest(weight, *fit(weight, layout), layout)


def _outputs_per_input(product: Product) -> float:
    inputs, outputs = product.array().shape
    return float(outputs / inputs)
