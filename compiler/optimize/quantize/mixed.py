"""Which weights of a graph get few bits and which get more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Feeds
from compiler.optimize.quantize.blocks import Blocks, Layout, fine_layout, fit, round_compensated, round_nearest
from compiler.optimize.quantize.moments import second_moments
from compiler.optimize.quantize.products import Product


def quantize_mixed(
    model: ir.Model,
    body: Sequence[Product],
    *,
    coarse: Layout,
    fine_share: float,
    feeds: Sequence[Feeds] | None,
) -> Iterator[tuple[Product, Blocks]]:
    """Quantize every product's weight, up to `fine_share` of all their values with 8 bits.

    Products with the fewest outputs an input get them first: the way down of a feed-forward block, whose inputs hold
    a network's largest outliers, then attention's output. The wide way up bears coarse weights best.

    Args:
        feeds: calibration inputs, for rounding that compensates its own errors; None rounds to the nearest.
    """
    left = fine_share * sum(product.array().size for product in body)
    others = []
    for product in sorted(body, key=_outputs_per_input):
        weight = product.array()
        if weight.size <= left:
            left -= weight.size
            yield product, nearest(weight, fine_layout(len(weight)))
        else:
            others.append(product)
    if feeds is None:
        yield from ((product, nearest(product.array(), coarse)) for product in others)
        return
    for product, moments in second_moments(model, others, feeds):
        weight = product.array()
        scales, zeros = fit(weight, coarse, np.diag(moments))
        yield product, round_compensated(weight, scales, zeros, coarse, moments)


def nearest(weight: np.ndarray, layout: Layout) -> Blocks:
    return round_nearest(weight, *fit(weight, layout), layout)


def _outputs_per_input(product: Product) -> float:
    inputs, outputs = product.array().shape
    return float(outputs / inputs)
