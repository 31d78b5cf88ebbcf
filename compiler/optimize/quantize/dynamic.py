"""quantize-dynamic: int8 matrix products whose activations are quantized as they come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import MICROSOFT, metadata, replace
from compiler.optimize.quantize.eight_bits import Weights, for_unsigned
from compiler.optimize.quantize.products import products


@dataclass(frozen=True)
class QuantizeDynamic(Pass):
    """Float32 products with a constant weight -> int8 products with the activation's scale found at run time.

    An activation has one scale for all rows: a text's numbers depend on the texts beside it, and `quantize-per-token`
    costs little more. Products that read one tensor share its quantization.

    Attributes:
        per_channel: a scale for every column of a weight instead of one for all.
    """

    name: ClassVar[str] = "quantize-dynamic"
    lossy: ClassVar[bool] = True
    per_channel: bool = True

    def apply(self, model: ir.Model, context: Context) -> bool:
        found = products(model)
        readers = Counter(product.source.name for product in found)
        weights = Weights(model, for_unsigned(context.target), self.per_channel)
        quantized: dict[str | None, tuple[ir.Value, ...]] = {}
        for product in found:
            source, info = product.source, metadata(product.node)
            weight = weights.of(product)
            made = []
            if readers[source.name] == 1:
                inputs = [source, weight.codes, weight.scale, None, product.bias]
                made.append(ir.node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT, metadata_props=info))
            else:
                if source.name not in quantized:
                    made.append(ir.node("DynamicQuantizeLinear", [source], num_outputs=3, metadata_props=info))
                    quantized[source.name] = tuple(made[0].outputs)
                codes, scale, zero = quantized[source.name]
                inputs = [codes, weight.codes, scale, weight.scale, zero, None, product.bias]
                made.append(ir.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT, metadata_props=info))
            replace(product.node, made, [product.result], made[-1].outputs)
        return bool(found)
