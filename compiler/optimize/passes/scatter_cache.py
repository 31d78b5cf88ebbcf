"""scatter-cache: a cache of fixed capacity, written in place by standard operators.

Concat(past, new) grows with every token. TensorScatter writes into a buffer that stays as it is, which an engine can
alias, and attention runs over all of its columns behind a mask that hides those not written yet: the token at position
p lies in column p, and sees the columns up to p. Rows are padded on the right, where a pad's key is behind every real
query, and is overwritten later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.columns import OPSET, Columns
from compiler.optimize.passes.graph import attribute, constant
from compiler.optimize.passes.shapes import symbolic
from compiler.optimize.passes.visibility import MASK, POSITIONS, Rule, is_positions, is_total, rule

PAST = "past_key_values."
GROWING = ("past_sequence", "total_sequence")
OTHER_DIMS = ("batch", "sequence", "encoder_sequence", "kept")
LENGTHS = ("Shape", "Size")

Meaning = Rule | Literal["positions", "total"]


@dataclass(frozen=True)
class ScatterCache(Pass):
    """Concat(past, new) -> TensorScatter, and new masks, biases and positions in place of those that count columns.

    A decoder of which any such value is not recognised keeps its growing cache.

    Attributes:
        capacity: columns of the cache; 0, or more than the model's context, is the context.
    """

    name: ClassVar[str] = "scatter-cache"
    capacity: int = 0

    def apply(self, model: ir.Model, context: Context) -> bool:
        appends = _appends(model)
        meanings = _meanings(model, context) if appends else None
        if meanings is None:
            return False
        limit = context.exported.context_length
        capacity = min(self.capacity or limit, limit)
        columns = Columns(model, capacity)
        for value, meaning in meanings.items():
            if meaning is None:
                value.shape = None  # one row of positions becomes a row for each text
            else:
                value.replace_all_uses_with(_made(columns, meaning))
        for append in appends:
            columns.scatter(append)
        RemoveUnusedNodesPass()(model)
        for value in [value for value in model.graph.inputs if value.name == MASK and not value.uses()]:
            model.graph.inputs.remove(value)
        _fix_dims(model, capacity)
        model.graph.opset_imports[""] = max(OPSET, model.graph.opset_imports[""])
        return True


def _appends(model: ir.Model) -> list[ir.Node]:
    """The Concat of each past with what is new, itself the present; [] where any past is read in another way."""
    found = []
    for past in [value for value in model.graph.inputs if (value.name or "").startswith(PAST)]:
        readers = [use.node for use in past.uses() if use.node.op_type not in LENGTHS]
        if len(readers) != 1 or not _is_append(readers[0], past):
            return []
        found.append(readers[0])
    return found


def _is_append(node: ir.Node, past: ir.Value) -> bool:
    if node.op_type != "Concat" or len(node.inputs) != 2 or node.inputs[0] is not past:
        return False
    return node.outputs[0].is_graph_output() and node.attributes["axis"].as_int() in (-2, 2)


def _meanings(model: ir.Model, context: Context) -> dict[ir.Value, Meaning | None] | None:
    """What values mean that count columns, beginning with those that the network itself reads.

    One without a meaning (None) is made from others that have one. The whole is None where that is not so.
    """
    plain, counting = _from_lengths(model)
    found: dict[ir.Value, Meaning | None] = {}
    waiting = [
        (value, node.op_type == "Add")
        for node in model.graph
        if node.op_type not in LENGTHS and plain.isdisjoint(node.outputs)
        for value in node.inputs
    ]
    while waiting:
        value, by_row = waiting.pop()
        if value is None or value not in counting or value in found:
            continue
        node = value.producer()
        if node is None:
            return None
        found[value] = _meaning(model, value, context, by_row)
        if found[value] is None:
            if node.op_type in LENGTHS:
                return None
            waiting.extend((source, by_row and _by_row(node)) for source in node.inputs)
    return found


def _by_row(node: ir.Node) -> bool:
    """Whether it does with rows of positions, one for each text, what it does with positions that all texts share."""
    return node.op_type in ("Add", "Sub", "Cast") or (node.op_type == "Gather" and attribute(node, "axis", 0) == 0)


def _from_lengths(model: ir.Model) -> tuple[set[ir.Value], set[ir.Value]]:
    """Values that follow from lengths alone (masks, positions, shapes), and those of them that count columns."""
    plain = {value for value in model.graph.inputs if value.name in (MASK, POSITIONS)}
    counting = {value for value in plain if value.name == MASK}
    for node in model.graph:
        sources = [value for value in node.inputs if value is not None]
        measures = node.op_type in LENGTHS
        if measures or all(value in plain or constant(value) is not None for value in sources):
            plain.update(node.outputs)
            if (measures or not counting.isdisjoint(sources)) and not _counts_others(node.outputs[0]):
                counting.update(node.outputs)
    return plain, counting


def _counts_others(shape: ir.Value) -> bool:
    """Whether it is made of sizes that do not grow with the cache."""
    known = symbolic(shape)
    return known is not None and all(isinstance(dim, int) or dim in OTHER_DIMS for dim in known)


def _meaning(model: ir.Model, value: ir.Value, context: Context, by_row: bool) -> Meaning | None:
    """`by_row` says that positions without a dim for texts may get one."""
    rank = None if value.shape is None else len(value.shape)
    if rank in (None, 4) and (found := rule(model, value, context)) is not None:
        return found
    if (rank in (None, 2) or (rank == 1 and by_row)) and is_positions(model, value):
        return "positions"
    return "total" if rank in (None, 1) and is_total(model, value) else None


def _made(columns: Columns, meaning: Meaning) -> ir.Value:
    if isinstance(meaning, Rule):
        return columns.mask(meaning)
    return columns.positions if meaning == "positions" else columns.count()


def _fix_dims(model: ir.Model, capacity: int) -> None:
    """Every dim that grew is the capacity."""
    for value in [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]:
        known = [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
        if any(dim in GROWING for dim in known):
            value.shape = ir.Shape([capacity if dim in GROWING else dim for dim in known])
