"""fuse-gelu: a bias and the GELU after it in one kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir
from onnxscript.rewriter import pattern

from compiler.optimize.passes.base import QUANTIZERS, Context, Pass
from compiler.optimize.passes.graph import MICROSOFT, attribute, metadata, nodes, replace, split_bias, used_once

KERNELS = {"none": "BiasGelu", "tanh": "FastGelu"}


@dataclass(frozen=True)
class FuseGelu(Pass):
    """Gelu(x + bias) -> com.microsoft.BiasGelu(x, bias), and FastGelu for the tanh form, which may be written out.

    Follows quantization: an int8 product adds the bias itself, at no cost.
    """

    name: ClassVar[str] = "fuse-gelu"
    follows: ClassVar[tuple[str, ...]] = QUANTIZERS

    def apply(self, model: ir.Model, context: Context) -> bool:
        modified: bool = _written_out().apply_to_model(model) > 0
        for gelu in nodes(model, "Gelu"):
            biased = gelu.inputs[0]
            parts = split_bias(biased)
            if biased is None or parts is None or not used_once(biased):
                continue
            kernel = KERNELS[attribute(gelu, "approximate", "none")]
            new = ir.node(kernel, parts, domain=MICROSOFT, metadata_props=metadata(gelu))
            replace(gelu, [new], gelu.outputs, new.outputs)
            modified = True
        return modified


def _written_out() -> pattern.RewriteRuleSet:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), as several checkpoints spell GELU."""

    def spelled(op: Any, x: ir.Value) -> Any:
        inner = op.Mul(op.Add(x, op.Mul(op.Pow(x, 3.0), 0.044715)), math.sqrt(2 / math.pi))
        return op.Mul(op.Mul(x, 0.5), op.Add(op.Tanh(inner), 1.0))

    def kept_whole(op: Any, x: ir.Value) -> Any:
        return op.Gelu(x, approximate="tanh")

    return pattern.RewriteRuleSet([pattern.RewriteRule(spelled, kept_whole)], commute=True)
