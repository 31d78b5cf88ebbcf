"""fold-constants: raw exporter output becomes the graph that a person would draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, ClassVar

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import constant, nodes, replace, used_once
from compiler.optimize.passes.shapes import drop_identities, simplify_reshapes
from compiler.optimize.passes.unflatten import unflatten

ROUNDS = 8


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Fold what is constant, drop what does nothing, merge what is computed twice, and make shapes literal.

    Weights are neither copied nor grown: only results of at most `largest` elements are folded, a weight's Transpose
    becomes a strided view of the same memory, and a weight with several readers stays one initializer.
    """

    name: ClassVar[str] = "fold-constants"
    largest: int = 1024

    def apply(self, model: ir.Model, context: Context) -> bool:
        before = fingerprint(model)
        for _ in range(ROUNDS):
            at_start = fingerprint(model)
            self._round(model)
            if fingerprint(model) == at_start:
                break
        return fingerprint(model) != before

    def _round(self, model: ir.Model) -> None:
        from onnxscript.optimizer import fold_constants_ir

        fold_constants_ir(
            model,
            onnx_shape_inference=True,
            input_size_limit=self.largest,
            output_size_limit=self.largest,
            should_fold=lambda node: False if node.op_type == "Transpose" or len(node.outputs) > 1 else None,
        )
        common.RemoveUnusedNodesPass()(model)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.DeduplicateInitializersPass(size_limit=self.largest)(model)
        common.CommonSubexpressionEliminationPass()(model)
        view_transposed_weights(model)
        drop_identities(model)
        simplify_reshapes(model)
        unflatten(model)
        common.RemoveUnusedNodesPass()(model)
        common.RemoveUnusedOpsetsPass()(model)


class StridedTensor(ir.Tensor[np.ndarray]):
    """A view of another array. numpy writes one to a file element by element, but copies it to bytes at once."""

    def tofile(self, file: BinaryIO) -> None:
        file.write(self.tobytes())


def view_transposed_weights(model: ir.Model) -> None:
    """Transpose(weight) -> the weight itself as a strided view, where nobody else reads the weight."""
    for node in nodes(model, "Transpose"):
        weight = node.inputs[0]
        array = constant(weight)
        if weight is None or weight.name is None or array is None or not used_once(weight):
            continue
        if node.outputs[0].is_graph_output():
            continue
        perm = node.attributes.get_ints("perm", tuple(reversed(range(array.ndim))))
        view = ir.val(weight.name, const_value=StridedTensor(np.transpose(array, perm), name=weight.name))
        replace(node, [], node.outputs, [view])
        model.graph.initializers.pop(weight.name)
        model.graph.register_initializer(view)


def fingerprint(model: ir.Model) -> int:
    """A hash that changes whenever a node, a connection, an attribute or the set of initializers changes."""
    number: dict[int, int] = {}
    parts: list[object] = [tuple(model.graph.initializers), tuple(value.name for value in model.graph.inputs)]

    def of(value: ir.Value | None) -> object:
        if value is None or value.producer() is None:
            return None if value is None else value.name
        return number.setdefault(id(value), len(number))

    for node in model.graph:
        attributes = tuple((name, str(attribute.value)) for name, attribute in node.attributes.items())
        inputs, outputs = tuple(map(of, node.inputs)), tuple(map(of, node.outputs))
        parts.append((node.domain, node.op_type, inputs, outputs, attributes))
    parts.append(tuple(map(of, model.graph.outputs)))
    return hash(tuple(parts))
