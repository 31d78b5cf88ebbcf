"""pack-projections: projections of one input by several weights become one matrix product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import (
    MICROSOFT,
    constant,
    initializer,
    metadata,
    nodes,
    remove_dead,
    replace,
    split_bias,
    used_once,
)


class Projection(NamedTuple):
    """x @ weight (+ bias); `result` is what the rest of the graph reads."""

    matmul: ir.Node
    weight: np.ndarray
    bias: np.ndarray | None
    result: ir.Value


@dataclass(frozen=True)
class PackProjections(Pass):
    """MatMuls that read one tensor (Q, K, V; gate and up) -> one MatMul with the weights side by side, and a Split.

    Where the parts are exactly the query, key and value of one GroupQueryAttention, the kernel takes them packed and
    no Split is needed. A weight that has another reader (tied) is left alone.
    """

    name: ClassVar[str] = "pack-projections"

    def apply(self, model: ir.Model, context: Context) -> bool:
        siblings: dict[tuple[int, bool], list[Projection]] = defaultdict(list)
        for matmul in nodes(model, "MatMul"):
            projection = _projection(matmul)
            if projection is not None:
                siblings[id(matmul.inputs[0]), projection.bias is None].append(projection)
        groups = [group for group in siblings.values() if len(group) > 1]
        for group in groups:
            _pack(model, group)
        taken = [_take_whole(split) for split in nodes(model, "Split")]
        return bool(groups) or any(taken)


def _projection(matmul: ir.Node) -> Projection | None:
    weight_value = matmul.inputs[1]
    weight = constant(weight_value)
    if weight_value is None or weight is None or weight.ndim != 2 or not used_once(weight_value):
        return None
    product = matmul.outputs[0]
    if product.is_graph_output():
        return None
    if used_once(product):
        (reader,) = product.consumers()
        total = reader.outputs[0]
        parts = split_bias(total, width=weight.shape[1])
        if parts is not None and parts[0] is product and not total.is_graph_output():
            return Projection(matmul, weight, constant(parts[1]), total)
    return Projection(matmul, weight, None, product)


def _pack(model: ir.Model, group: list[Projection]) -> None:
    first = group[0].matmul
    attention = _attention_over([part.result for part in group])
    if attention is not None:
        group = sorted(group, key=lambda part: attention.inputs.index(part.result))
    made = _side_by_side(model, group)
    packed = made[-1].outputs[0]
    sizes = initializer(model, f"{packed.name}.sizes", np.array([part.weight.shape[1] for part in group]))
    info = metadata(*(part.matmul for part in group))
    split = ir.node("Split", [packed, sizes], {"axis": -1}, num_outputs=len(group), metadata_props=info)
    replace(first, [*made, split], [part.result for part in group], split.outputs)


def _take_whole(split: ir.Node) -> bool:
    """Let a GroupQueryAttention read the packed tensor instead of the Split of it into query, key and value."""
    attention = _attention_over(split.outputs)
    if attention is None or tuple(attention.inputs[:3]) != tuple(split.outputs):
        return False
    for index, value in enumerate((split.inputs[0], None, None)):
        attention.replace_input_with(index, value)
    remove_dead([split])
    return True


def _side_by_side(model: ir.Model, group: list[Projection]) -> list[ir.Node]:
    """The one MatMul, and the Add where the group has biases; the last node's output holds all results."""
    source, weight_value = group[0].matmul.inputs[:2]
    stem = f"{weight_value.name if weight_value is not None else None}.packed"
    info = metadata(*(part.matmul for part in group))
    joined = np.concatenate([part.weight for part in group], axis=1)
    weight = initializer(model, stem, joined)
    made = [ir.node("MatMul", [source, weight], metadata_props=info)]
    biases = [part.bias for part in group if part.bias is not None]
    if biases:
        bias = initializer(model, f"{stem}.bias", np.concatenate(biases))
        made.append(ir.node("Add", [made[0].outputs[0], bias], metadata_props=info))
    result = group[0].result
    for node in made:
        node.outputs[0].name = f"{stem}.{node.op_type}"
        node.outputs[0].type = result.type
        node.outputs[0].shape = None if result.shape is None else ir.Shape([*result.shape[:-1], joined.shape[1]])
    return made


def _attention_over(values: Sequence[ir.Value]) -> ir.Node | None:
    """The GroupQueryAttention whose query, key and value are exactly these, in whatever order."""
    if len(values) != 3 or not all(map(used_once, values)):
        return None
    readers = {value.consumers()[0] for value in values}
    attention = readers.pop()
    if readers or attention.op_type != "GroupQueryAttention" or attention.domain != MICROSOFT:
        return None
    return attention if set(attention.inputs[:3]) == set(values) else None
