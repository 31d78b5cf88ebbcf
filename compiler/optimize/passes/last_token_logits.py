"""Logits only where they are wanted.

Generation needs them after the last token of each row, which spares the head's matrix product for the rest of the
prompt; perplexity needs them everywhere. A new input `logits_positions` (batch, kept) int64 says where, as indices
within `sequence`, and logits become (batch, kept, vocabulary): one graph serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import initializer, metadata

INPUT = "logits_positions"
POINTWISE = {"Add", "Mul", "Div", "Tanh", "Cast", "Identity"}


@dataclass(frozen=True)
class LastTokenLogits(Pass):
    name: ClassVar[str] = "last-token-logits"

    def apply(self, model: ir.Model, context: Context) -> bool:
        logits = next((value for value in model.graph.outputs if value.name == "logits"), None)
        if logits is None or any(value.name == INPUT for value in model.graph.inputs):
            return False
        head = _head(logits)
        hidden = head.inputs[0] if head is not None else None
        if head is None or hidden is None or hidden.shape is None or len(hidden.shape) != 3:
            return False
        if isinstance(hidden.shape[1], int):  # it answers for one position only
            return False
        positions = ir.Value(name=INPUT, shape=ir.Shape(["batch", "kept"]), type=ir.TensorType(ir.DataType.INT64))
        model.graph.inputs.insert(_index_of_first_past(model), positions)
        axis = initializer(model, f"{INPUT}_axis", np.array([-1], np.int64))
        index = ir.node("Unsqueeze", [positions, axis], metadata_props=metadata(head))
        kept = ir.node("GatherND", [hidden, index.outputs[0]], {"batch_dims": 1}, metadata_props=metadata(head))
        kept.outputs[0].shape, kept.outputs[0].type = ir.Shape(["batch", "kept", hidden.shape[2]]), hidden.type
        model.graph.insert_before(head, [index, kept])
        head.replace_input_with(0, kept.outputs[0])
        value: ir.Value | None = head.outputs[0]
        while value is not None:
            value.shape = ir.Shape(["batch", "kept", value.shape[-1] if value.shape is not None else None])
            uses = list(value.uses())
            value = uses[0].node.outputs[0] if uses else None
        return True


def _head(logits: ir.Value) -> ir.Node | None:
    """The matrix product that makes the logits, behind scalings and soft caps, when nothing else reads it."""
    value = logits
    while (node := value.producer()) is not None:
        if node.op_type == "MatMul":
            return node
        sources = [source for source in node.inputs if source is not None and source.const_value is None]
        if node.op_type not in POINTWISE or len(sources) != 1 or len(list(sources[0].uses())) != 1:
            return None
        value = sources[0]
    return None


def _index_of_first_past(model: ir.Model) -> int:
    names = [value.name or "" for value in model.graph.inputs]
    return next((index for index, name in enumerate(names) if name.startswith("past_key_values.")), len(names))
