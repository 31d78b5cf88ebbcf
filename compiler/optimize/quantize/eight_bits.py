"""Eight-bit numbers whose zero is zero: `code * scale`, with one scale a tensor or one a column."""

from __future__ import annotations

from typing import NamedTuple

import ml_dtypes
import numpy as np
import onnx_ir as ir

from compiler.machine import saturates
from compiler.optimize.passes.graph import initializer
from compiler.optimize.quantize.products import Product
from compiler.records import Requires


class Format(NamedTuple):
    """Codes of `dtype`, at most `top`.

    `half` keeps scales among the normal positive numbers of float16, so that a float16 graph restores the same
    values; TensorRT refuses a scale of zero.
    """

    name: str
    dtype: np.dtype
    top: int
    half: bool = False

    def scale(self, extreme: np.ndarray) -> np.ndarray:
        """Float32 scales for magnitudes up to `extreme`, of its shape."""
        scale = np.asarray(np.where(extreme > 0, extreme / self.top, 1), np.float32)
        return to_half(scale) if self.half else scale

    def codes(self, values: np.ndarray, scale: np.ndarray) -> np.ndarray:
        steps = np.clip(values / scale, -self.top, self.top)
        nearest = np.rint(steps) if self.dtype.kind == "i" else steps
        return np.ascontiguousarray(nearest.astype(self.dtype))


INT8 = Format("int8", np.dtype(np.int8), 127)
INT8_REDUCED = Format("int8", np.dtype(np.int8), 63)
INT8_HALF = Format("int8", np.dtype(np.int8), 127, half=True)
FLOAT8 = Format("float8", np.dtype(ml_dtypes.float8_e4m3fn), 448, half=True)


def for_unsigned(target: Requires) -> Format:
    """Of weights that uint8 activations are multiplied by: in 7 bits where 8 could overflow."""
    return INT8_REDUCED if saturates(target.architecture, target.features) else INT8


def to_half(scales: np.ndarray) -> np.ndarray:
    """The nearest of the normal positive float16 numbers, as float32."""
    limits = np.finfo(np.float16)
    nearest: np.ndarray = np.clip(scales, limits.smallest_normal, limits.max).astype(np.float16)
    return nearest.astype(np.float32)


class Weight(NamedTuple):
    """`codes` is (K, N) of the format's dtype, `scale` (N,) or () float32."""

    codes: ir.Value
    scale: ir.Value


class Weights:
    """The quantized weights of one graph; products with one weight get one quantized tensor."""

    def __init__(self, model: ir.Model, numbers: Format, per_channel: bool = True) -> None:
        self._model = model
        self._format = numbers
        self._per_channel = per_channel
        self._made: dict[tuple[int, bool], Weight] = {}

    def of(self, product: Product) -> Weight:
        """The product's weight."""
        if product.key not in self._made:
            self._made[product.key] = self.quantize(product.name, product.array())
        return self._made[product.key]

    def quantize(self, name: str, array: np.ndarray) -> Weight:
        """A weight (K, N) float32 for one product alone."""
        scale = self._format.scale(np.abs(array).max(axis=0 if self._per_channel else None))
        codes = initializer(self._model, f"{name}.{self._format.name}", self._format.codes(array, scale))
        return Weight(codes, initializer(self._model, f"{name}.scale", scale))

    def restore(self, weight: Weight, info: dict[str, str]) -> ir.Node:
        """The node that gives a weight back as (K, N) of the scale's type."""
        axis = {"axis": 1} if self._per_channel else {}
        return ir.node("DequantizeLinear", list(weight), axis, metadata_props=info)
