"""Second moments of the inputs of matrix products, over calibration feeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Feeds
from compiler.optimize.quantize.observe import observe
from compiler.optimize.quantize.products import Product

BYTES_AT_ONCE = 1 << 29


def second_moments(
    model: ir.Model, found: Sequence[Product], feeds: Sequence[Feeds]
) -> Iterator[tuple[Product, np.ndarray]]:
    """Every product with the sum of x x^T over its source's rows x, (K, K) float32.

    Products with one source share one array. The model runs once for as many of them as fit in memory together.
    """
    for group in _groups(found):
        names = list(dict.fromkeys(product.source.name or "" for product in group))
        sums: dict[str, np.ndarray] = {}
        for arrays in observe(model, names, feeds):
            for name, array in arrays.items():
                rows = array.reshape(-1, array.shape[-1])
                sums[name] = sums.get(name, np.float32(0)) + rows.T @ rows
        for product in group:
            yield product, sums[product.source.name or ""]


def _groups(found: Sequence[Product]) -> Iterator[list[Product]]:
    group: list[Product] = []
    sizes: dict[str | None, int] = {}
    for product in found:
        size = 4 * len(product.array()) ** 2
        if group and product.source.name not in sizes and sum(sizes.values()) + size > BYTES_AT_ONCE:
            yield group
            group, sizes = [], {}
        group.append(product)
        sizes[product.source.name] = size
    if group:
        yield group
