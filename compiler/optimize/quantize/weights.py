"""quantize-weights: int4 or int8 weights in blocks; activations stay float32 outside the kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import attribute, constant, dims, metadata, nodes, replace
from compiler.optimize.quantize.blocks import Blocks, Layout, fine_layout
from compiler.optimize.quantize.mixed import distinct, in_blocks, nearest, split
from compiler.optimize.quantize.packed import PackedWeight
from compiler.optimize.quantize.products import SMALLEST, Product, products


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Products with a constant weight -> MatMulNBits; lookups in embedding tables -> GatherBlockQuantized.

    A table that is also the head's weight (tied) is quantized once, and both kernels read that one tensor.

    Attributes:
        bits: 4 or 8, for all products but the head.
        int8_share: how much of the weights counted in `bits` of 4 gets 8 bits after all: narrow products first.
        block_size: 4-bit weights along K with one scale: a power of two from 16 to 256.
        symmetric: 4-bit weights without zero points; smaller, and less exact.
        head_bits: 4 or 8, for the product that gives the model's answer, and for embedding tables.
        rounding: "nearest", or "compensated": run calibration, and let weights rounded later make up for the errors
            of those before. Only 4-bit weights need it.
    """

    name: ClassVar[str] = "quantize-weights"
    lossy: ClassVar[bool] = True
    bits: int = 4
    int8_share: float = 0.5
    block_size: int = 32
    symmetric: bool = False
    head_bits: int = 8
    rounding: Literal["nearest", "compensated"] = "compensated"

    def apply(self, model: ir.Model, context: Context) -> bool:
        tables = [gather for gather in nodes(model, "Gather") if self._is_table(gather)]
        looked_up = {id(table.inputs[0]) for table in tables}
        found = products(model)
        heads = [one for one in found if one.result.is_graph_output() or (id(one.weight) in looked_up)]
        body = [one for one in found if one not in heads]

        packed = {
            product.key: PackedWeight(model, product.name, blocks)
            for product, blocks in self._quantize(model, body, context)
        }
        for product in heads:
            if product.key not in packed:
                packed[product.key] = PackedWeight(model, product.name, self._nearest(product.array(), self.head_bits))
        for product in found:
            node = packed[product.key].multiply(product.source, product.bias, metadata(product.node))
            replace(product.node, [node], [product.result], node.outputs)
        for table in tables:
            weight, indices = table.inputs
            array, shape = constant(weight), dims(indices)
            if weight is None or array is None or indices is None or shape is None:
                continue
            if (id(weight), True) not in packed:
                packed[id(weight), True] = PackedWeight(
                    model, weight.name or "", self._nearest(array.T, self.head_bits)
                )
            made = packed[id(weight), True].gather(indices, len(shape), metadata(table))
            replace(table, made, table.outputs, made[-1].outputs)
        return bool(found or tables)

    def _quantize(self, model: ir.Model, body: Sequence[Product], context: Context) -> Iterator[tuple[Product, Blocks]]:
        """Every distinct weight of `body`, quantized."""
        weights = distinct(body)
        fine, coarse = (weights, []) if self.bits == 8 else split(weights, self.int8_share)
        yield from ((product, self._nearest(product.array(), 8)) for product in fine)
        feeds = context.calibration() if coarse and self.rounding == "compensated" else None
        yield from in_blocks(model, coarse, Layout(4, self.block_size, self.symmetric), feeds)

    def _nearest(self, weight: np.ndarray, bits: int) -> Blocks:
        return nearest(weight, self._layout(bits, len(weight)))

    def _layout(self, bits: int, rows: int) -> Layout:
        return fine_layout(rows) if bits == 8 else Layout(4, self.block_size, self.symmetric)

    def _is_table(self, gather: ir.Node) -> bool:
        """Whether it looks up rows of a constant float32 matrix whose rows are whole blocks."""
        array = constant(gather.inputs[0])
        if array is None or array.dtype != np.float32 or array.ndim != 2 or dims(gather.inputs[1]) is None:
            return False
        rows, columns = array.shape
        whole = columns % self._layout(self.head_bits, columns).block_size == 0
        return whole and rows >= SMALLEST and attribute(gather, "axis", 0) == 0
