"""quantize-weights-dq: weights in few bits that DequantizeLinear restores, for engines that fuse it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_ir as ir

from compiler.errors import PassError
from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import metadata, nodes, replace
from compiler.optimize.quantize.eight_bits import INT8_HALF, Weights
from compiler.optimize.quantize.four_bits import Float4, Int4, Signed
from compiler.optimize.quantize.mixed import distinct, in_blocks, split
from compiler.optimize.quantize.products import Product, products

# What DequantizeLinear must know: blocks came with opset 21 (IR version 10), float4 with 23 (11).
VERSIONS = {"int8": (21, 10), "int4": (21, 10), "float4": (23, 11)}


@dataclass(frozen=True)
class QuantizeWeightsDq(Pass):
    """Every product with a constant weight reads it from a DequantizeLinear; activations stay as they were.

    Embedding tables stay; a head whose weight is such a table (tied) gets a quantized copy. A weight with rows that
    are not whole blocks gets int8.

    Attributes:
        format: "int4" in blocks along K, "float4" (NVFP4) in blocks of 16, or "int8" with one scale a column.
        block_size: of int4: 32, 64 or 128. TensorRT documents 64 and 128.
        int8_share: how much of the weights gets int8 after all: narrow products first.
        head_bits: 4 or 8, for the product that gives the model's answer.
        rounding: "nearest", or "compensated": run calibration, and let weights rounded later make up for the errors
            of those before. Only 4-bit weights need it.
    """

    name: ClassVar[str] = "quantize-weights-dq"
    lossy: ClassVar[bool] = True
    format: Literal["int4", "int8", "float4"] = "int4"
    block_size: Literal[32, 64, 128] = 64
    int8_share: float = 0.5
    head_bits: Literal[4, 8] = 8
    rounding: Literal["nearest", "compensated"] = "compensated"

    @property
    def formats(self) -> tuple[str, ...]:
        return {"int8": ("int8",), "int4": ("int4", "int8"), "float4": ("float4", "float8", "int8")}[self.format]

    def apply(self, model: ir.Model, context: Context) -> bool:
        found = products(model)
        if not found:
            return False
        self._require_versions(model)
        layout = Float4() if self.format == "float4" else Int4(block_size=self.block_size)
        coarse = self._coarse(model, found, layout)
        feeds = context.calibration() if coarse and self.rounding == "compensated" else None
        four = {
            product.key: layout.restore(model, product.name, blocks, metadata(product.node))
            for product, blocks in in_blocks(model, coarse, layout, feeds)
        }
        eight = Weights(model, INT8_HALF)
        restored: dict[tuple[int, bool], ir.Value] = {}
        for product in found:
            made: list[ir.Node] = []
            if product.key not in restored:
                made += four.get(product.key) or [eight.restore(eight.of(product), metadata(product.node))]
                restored[product.key] = made[-1].outputs[0]
            made += product.multiply(product.source, restored[product.key])
            replace(product.node, made, [product.result], made[-1].outputs)
        return True

    def _coarse(self, model: ir.Model, found: Sequence[Product], layout: Signed) -> list[Product]:
        """Those that get four bits, one for each weight."""
        if self.format == "int8":
            return []
        tables = {id(gather.inputs[0]) for gather in nodes(model, "Gather")}
        heads = {one.key for one in found if one.result.is_graph_output() or id(one.weight) in tables}
        weights = distinct(found)
        _, coarse = split([one for one in weights if one.key not in heads], self.int8_share)
        if self.head_bits == 4:
            coarse += [one for one in weights if one.key in heads]
        return [one for one in coarse if len(one.array()) % layout.block_size == 0]

    def _require_versions(self, model: ir.Model) -> None:
        opset, ir_version = VERSIONS[self.format]
        if (found := model.opset_imports[""]) < opset:
            raise PassError(
                f"{self.format} weights need a later ONNX", found=f"opset {found}", expected=f"opset {opset} or later"
            )
        model.ir_version = max(model.ir_version, ir_version)
