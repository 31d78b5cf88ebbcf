"""quantize-static: int8 matrix products whose activation scales are fixed by calibration (Q/DQ form)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from compiler.errors import PassError
from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import initializer, metadata, replace
from compiler.optimize.quantize.integers import IntegerWeights
from compiler.optimize.quantize.observe import observe
from compiler.optimize.quantize.products import Product, products
from compiler.optimize.quantize.ranges import METHODS, Histogram, Method, choose


@dataclass(frozen=True)
class QuantizeStatic(Pass):
    """Q/DQ pairs around the inputs of every product with a constant weight; engines fuse them to int8 kernels.

    Activations get one asymmetric uint8 range a tensor, weights symmetric int8. Everything between the products
    (attention, softmax, norms) stays float32.

    Attributes:
        method: how the range is chosen: "minmax", "percentile" or "entropy".
        per_channel: a scale for every column of a weight instead of one for all.
        reduce_range: weights in 7 bits, for x86 without VNNI, whose int8 products saturate at 16 bits.
    """

    name: ClassVar[str] = "quantize-static"
    lossy: ClassVar[bool] = True
    method: Method = "minmax"
    per_channel: bool = True
    reduce_range: bool = False

    def apply(self, model: ir.Model, context: Context) -> bool:
        if self.method not in METHODS:
            raise PassError(
                f'calibration method "{self.method}" is unknown', expected=", ".join(METHODS), action="choose one"
            )
        found = products(model)
        if not found:
            return False
        histograms: dict[str, Histogram] = defaultdict(Histogram)
        names = list(dict.fromkeys(product.source.name or "" for product in found))
        for arrays in observe(model, names, context.calibration()):
            for name, array in arrays.items():
                histograms[name].add(array)
        weights = IntegerWeights(model, self.per_channel, self.reduce_range)
        sources: dict[str, ir.Value] = {}
        for product in found:
            name = product.source.name or ""
            made: list[ir.Node] = []
            if name not in sources:
                made += _round_trip(model, product, *choose(histograms[name], self.method))
                sources[name] = made[-1].outputs[0]
            made += self._multiply(product, sources[name], weights)
            replace(product.node, made, [product.result], made[-1].outputs)
        return True

    def _multiply(self, product: Product, source: ir.Value, weights: IntegerWeights) -> list[ir.Node]:
        info = metadata(product.node)
        weight = weights.of(product)
        axis = {"axis": 1} if self.per_channel else {}
        restored = ir.node("DequantizeLinear", [weight.codes, weight.scale], axis, metadata_props=info)
        made = [restored, ir.node("MatMul", [source, restored.outputs[0]], metadata_props=info)]
        if product.bias is not None:
            made.append(ir.node("Add", [made[-1].outputs[0], product.bias], metadata_props=info))
        return made


def _round_trip(model: ir.Model, product: Product, low: float, high: float) -> list[ir.Node]:
    """QuantizeLinear and DequantizeLinear of the product's source over `low` .. `high` in uint8."""
    span = (high - low) / 255 or 1.0
    name = product.source.name or ""
    scale = initializer(model, f"{name}.scale", np.array(span, np.float32))
    zero = initializer(model, f"{name}.zero", np.array(np.rint(-low / span), np.uint8))
    info = metadata(product.node)
    down = ir.node("QuantizeLinear", [product.source, scale, zero], metadata_props=info)
    up = ir.node("DequantizeLinear", [down.outputs[0], scale, zero], metadata_props=info)
    up.outputs[0].type, up.outputs[0].shape = product.source.type, product.source.shape
    return [down, up]
