"""quantize-weights: int4 or int8 weights in blocks, float32 activations in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import MICROSOFT, attribute, constant, metadata, nodes, replace
from compiler.optimize.quantize.blocks import Blocks, Layout, fit, round_compensated, round_nearest
from compiler.optimize.quantize.moments import second_moments
from compiler.optimize.quantize.packed import PackedWeights
from compiler.optimize.quantize.products import SMALLEST, Product, products

INT8_COMPUTE = 4  # ONNX Runtime's accuracy_level: activations become int8 inside the kernel


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Products with a constant weight -> MatMulNBits; embedding lookups -> GatherBlockQuantized.

    A table that is also the head's weight (tied) is quantized once, and both kernels read that one tensor.

    Attributes:
        bits: 4 or 8, for all products but the head.
        block_size: weights along K that share a scale; a power of two from 16 to 256.
        symmetric: no zero points: a little smaller, a little less exact.
        head_bits: 4 or 8, for the product that gives the logits and for embedding tables.
        rounding: "nearest", or "compensated": calibrate, and let later weights make up for earlier rounding errors.
    """

    name: ClassVar[str] = "quantize-weights"
    lossy: ClassVar[bool] = True
    bits: int = 4
    block_size: int = 32
    symmetric: bool = False
    head_bits: int = 8
    rounding: Literal["nearest", "compensated"] = "compensated"

    def apply(self, model: ir.Model, context: Context) -> bool:
        found = products(model)
        tables = _tables(model, self.block_size)
        tied = {id(table.inputs[0]) for table in tables}
        heads = [one for one in found if one.result.is_graph_output() or (id(one.weight) in tied and one.transposed)]
        body = [one for one in found if one not in heads]
        packed = PackedWeights(model)
        for product, blocks in self._quantize(model, body, context):
            packed.add(product.key, product.name, blocks)
        ...
