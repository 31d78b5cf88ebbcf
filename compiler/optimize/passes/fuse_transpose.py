"""fuse-transpose: a weight that other nodes read as it lies is multiplied transposed, without a second copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from compiler.optimize.passes.base import QUANTIZERS, Context, Pass
from compiler.optimize.passes.graph import MICROSOFT, constant, metadata, nodes, producer, replace


@dataclass(frozen=True)
class FuseTranspose(Pass):
    """MatMul(x, Transpose(weight)) -> com.microsoft.FusedMatMul with transB, for the tied head of a language model.

    ONNX Runtime would otherwise fold the Transpose into a second weight while it loads. Comes after quantization,
    which knows the plain pattern.
    """

    name: ClassVar[str] = "fuse-transpose"
    follows: ClassVar[tuple[str, ...]] = QUANTIZERS

    def apply(self, model: ir.Model, context: Context) -> bool:
        modified = False
        for matmul in nodes(model, "MatMul"):
            transpose = producer(matmul.inputs[1], "Transpose")
            weight = constant(transpose.inputs[0]) if transpose is not None else None
            if transpose is None or weight is None or weight.ndim != 2:
                continue
            inputs = [matmul.inputs[0], transpose.inputs[0]]
            info = metadata(matmul)
            fused = ir.node("FusedMatMul", inputs, {"transB": 1}, domain=MICROSOFT, metadata_props=info)
            replace(matmul, [fused], matmul.outputs, fused.outputs)
            modified = True
        return modified
