"""quantize-static: 8-bit matrix products whose activation scales are fixed by calibration (Q/DQ form)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir

from compiler.errors import PassError
from compiler.optimize.passes.base import Context, Feeds, Pass
from compiler.optimize.passes.graph import initializer, metadata, replace
from compiler.optimize.quantize.eight_bits import FLOAT8, INT8_HALF, Format, Weights, for_unsigned
from compiler.optimize.quantize.observe import observe
from compiler.optimize.quantize.products import Product, products
from compiler.optimize.quantize.ranges import METHODS, Histogram, Method, choose
from compiler.optimize.quantize.smoothing import channels, smooth

SYMMETRIC: dict[str, Format] = {"int8": INT8_HALF, "float8": FLOAT8}


@dataclass(frozen=True)
class QuantizeStatic(Pass):
    """Q/DQ pairs around the inputs of every product with a constant weight; engines fuse them to 8-bit kernels.

    An activation has one scale, which all products that read it share. Everything between the products (attention,
    softmax, norms, biases) stays as it was.

    Attributes:
        format: of the activations. "uint8" is an asymmetric range, with symmetric int8 weights: what CPUs multiply.
            "int8" and "float8" (E4M3) are symmetric, and the weights' format as well: what GPUs multiply.
        method: how the range is chosen: "minmax", "percentile" or "entropy".
        smooth: make an activation's channels more alike first, at the expense of the weights that read it, as far as
            that lowers the error to be expected of int8.
        head: whether the product that gives the model's answer is quantized as well.
        per_channel: a scale for every column of a weight instead of one for all.
    """

    name: ClassVar[str] = "quantize-static"
    lossy: ClassVar[bool] = True
    format: Literal["uint8", "int8", "float8"] = "uint8"
    method: Method = "minmax"
    smooth: bool = False
    head: bool = True
    per_channel: bool = True

    @property
    def formats(self) -> tuple[str, ...]:
        return (self.format,) if self.format in SYMMETRIC else ()

    def apply(self, model: ir.Model, context: Context) -> bool:
        if self.method not in METHODS:
            raise PassError(
                f'calibration method "{self.method}" is unknown', expected=", ".join(METHODS), action="choose one"
            )
        readers: dict[str, list[Product]] = defaultdict(list)
        for product in products(model):
            if self.head or not product.result.is_graph_output():
                readers[product.source.name or ""].append(product)
        if not readers:
            return False
        feeds = context.widest()
        smoothed = self._smoothed(model, readers, feeds) if self.smooth else {}
        histograms: dict[str, Histogram] = defaultdict(Histogram)
        for arrays in observe(model, list(readers), feeds):
            for name, array in arrays.items():
                histograms[name].add(array * smoothed[name] if name in smoothed else array)
        numbers = SYMMETRIC.get(self.format) or for_unsigned(context.target)
        weights = Weights(model, numbers, self.per_channel)
        for name, siblings in readers.items():
            grid = self._grid(*choose(histograms[name], self.method))
            _quantize(model, siblings, weights, grid, smoothed.get(name))
        return True

    def _smoothed(
        self, model: ir.Model, readers: dict[str, list[Product]], feeds: Sequence[Feeds]
    ) -> dict[str, np.ndarray]:
        """What the channels of activations are multiplied by, (K,), where that helps."""
        seen = channels(observe(model, list(readers), feeds))
        found = {name: smooth(seen[name], [each.array() for each in siblings]) for name, siblings in readers.items()}
        return {name: factors for name, factors in found.items() if factors is not None}

    def _grid(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point for values in `low` .. `high`."""
        if symmetric := SYMMETRIC.get(self.format):
            return symmetric.scale(np.array(max(-low, high))), np.zeros((), symmetric.dtype)
        width = (high - low) / 255 or 1.0
        return np.array(width, np.float32), np.array(np.rint(-low / width), np.uint8)


def _quantize(
    model: ir.Model,
    siblings: Sequence[Product],
    weights: Weights,
    grid: tuple[np.ndarray, np.ndarray],
    factors: np.ndarray | None,
) -> None:
    """Rewrite the products of one source, which share its Q/DQ pair.

    Args:
        grid: the source's scale and zero point.
        factors: what its channels are multiplied by, (K,).
    """
    source = siblings[0].source
    name, info = source.name or "", metadata(siblings[0].node)
    made: list[ir.Node] = []
    value = source
    if factors is not None:
        made.append(ir.node("Mul", [value, initializer(model, f"{name}.factors", factors)], metadata_props=info))
        value = made[-1].outputs[0]
    parameters = [
        initializer(model, f"{name}.{part}", array) for part, array in zip(("scale", "zero"), grid, strict=True)
    ]
    for op_type in ("QuantizeLinear", "DequantizeLinear"):
        made.append(ir.node(op_type, [value, *parameters], metadata_props=info))
        value = made[-1].outputs[0]
    value.type, value.shape = source.type, source.shape
    for product in siblings:
        weight = (
            weights.of(product)
            if factors is None
            else weights.quantize(product.name, product.array() / factors[:, None])
        )
        made.append(weights.restore(weight, metadata(product.node)))
        made += product.multiply(value, made[-1].outputs[0])
        replace(product.node, made, [product.result], made[-1].outputs)
        made = []
