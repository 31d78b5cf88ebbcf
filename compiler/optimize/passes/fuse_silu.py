"""fuse-silu: x * Sigmoid(x) in one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import MICROSOFT, metadata, nodes, producer, replace, used_once


@dataclass(frozen=True)
class FuseSilu(Pass):
    """x * Sigmoid(x), in either order, -> com.microsoft.QuickGelu with alpha 1, which is the same function."""

    name: ClassVar[str] = "fuse-silu"

    def apply(self, model: ir.Model, context: Context) -> bool:
        modified = False
        for product in nodes(model, "Mul"):
            for x, gate in (product.inputs, product.inputs[::-1]):
                sigmoid = producer(gate, "Sigmoid")
                if sigmoid is None or sigmoid.inputs[0] is not x or not used_once(sigmoid.outputs[0]):
                    continue
                new = ir.node("QuickGelu", [x], {"alpha": 1.0}, domain=MICROSOFT, metadata_props=metadata(product))
                replace(product, [new], product.outputs, new.outputs)
                modified = True
                break
        return modified
