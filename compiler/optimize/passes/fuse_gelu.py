"""fuse-gelu: a bias and the GELU after it in one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import MICROSOFT, attribute, metadata, nodes, replace, split_bias, used_once

KERNELS = {"none": "BiasGelu", "tanh": "FastGelu"}


@dataclass(frozen=True)
class FuseGelu(Pass):
    """Gelu(x + bias) -> com.microsoft.BiasGelu(x, bias), and FastGelu for the tanh form."""

    name: ClassVar[str] = "fuse-gelu"

    def apply(self, model: ir.Model, context: Context) -> bool:
        modified = False
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
