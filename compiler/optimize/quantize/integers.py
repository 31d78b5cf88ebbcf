"""Weights as int8 with one scale, or one scale a column."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import initializer
from compiler.optimize.quantize.products import Product


class IntegerWeight(NamedTuple):
    """`codes` is (K, N) int8, `scale` (N,) or () float32; the zero point is 0."""

    codes: ir.Value
    scale: ir.Value


class IntegerWeights:
    """The int8 weights of one graph; products with one weight get one quantized tensor."""

    def __init__(self, model: ir.Model, per_channel: bool, reduce_range: bool) -> None:
        self._model = model
        self._per_channel = per_channel
        self._top = 63 if reduce_range else 127
        self._made: dict[tuple[int, bool], IntegerWeight] = {}

    def of(self, product: Product) -> IntegerWeight:
        if product.key not in self._made:
            codes, scale = quantize(product.array(), self._per_channel, self._top)
            self._made[product.key] = IntegerWeight(
                initializer(self._model, f"{product.name}.int8", codes),
                initializer(self._model, f"{product.name}.scale", scale),
            )
        return self._made[product.key]


def quantize(weight: np.ndarray, per_channel: bool, top: int) -> tuple[np.ndarray, np.ndarray]:
    """(K, N) float32 to codes (K, N) int8 in -top .. top and their scale, (N,) or () float32."""
    extreme = np.abs(weight).max(axis=0 if per_channel else None)
    scale = np.asarray(np.where(extreme > 0, extreme / top, 1), np.float32)
    return np.ascontiguousarray(np.rint(weight / scale).astype(np.int8)), scale
