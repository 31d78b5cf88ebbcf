"""Questions that passes ask of a graph, and the one way they change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, cast

import numpy as np
import onnx_ir as ir

Default = TypeVar("Default", int, float, str)

MODULE = "module"
MICROSOFT = "com.microsoft"


def nodes(model: ir.Model, op_type: str, domain: str = "") -> Iterator[ir.Node]:
    """The main graph's nodes of one operator, in order; safe while nodes are removed."""
    for node in tuple(model.graph):
        if node.op_type == op_type and node.domain == domain and node.graph is not None:
            yield node


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initializer or a Constant node, without copying it; None for anything that varies."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def producer(value: ir.Value | None, op_type: str, domain: str = "") -> ir.Node | None:
    """The node that makes `value`, if it is of this operator."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type and node.domain == domain else None


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """An input by position; None where it is absent or left empty."""
    return node.inputs[index] if index < len(node.inputs) else None


def used_once(value: ir.Value) -> bool:
    """Whether exactly one input of one node reads `value`, and the caller of the graph does not."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def dims(value: ir.Value | None) -> tuple[int | str, ...] | None:
    """The shape as sizes and names; None where the rank or any dim is unknown. Equal names are equal sizes."""
    if value is None or value.shape is None:
        return None
    found = tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
    return None if any(dim is None for dim in found) else found  # type: ignore[return-value]


def split_bias(value: ir.Value | None, width: int | None = None) -> tuple[ir.Value, ir.Value] | None:
    """(x, bias) of an Add of a constant vector to something that varies, in either order; None for anything else."""
    add = producer(value, "Add")
    if add is None:
        return None
    for x, bias in ((add.inputs[0], add.inputs[1]), (add.inputs[1], add.inputs[0])):
        vector = constant(bias)
        if x is None or bias is None or vector is None or constant(x) is not None:
            continue
        if vector.ndim == 1 and vector.size > 1 and width in (None, vector.size):
            return x, bias
    return None


def attribute(node: ir.Node, name: str, default: Default) -> Default:
    """An attribute's value, or the operator's default; of the default's type."""
    found = node.attributes.get(name)
    return default if found is None else type(default)(found.value)


def metadata(*sources: ir.Node) -> dict[str, str]:
    """The module path for a node made from `sources`. Siblings are joined: "layers.3.attn.q_proj+k_proj"."""
    paths = [path for node in sources if (path := node.metadata_props.get(MODULE))]
    unique = list(dict.fromkeys(paths))
    if not unique:
        return {}
    first, *rest = unique
    return {MODULE: "+".join([first, *(path.rpartition(".")[2] for path in rest)])}


def initializer(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    """Register a new initializer; `name` gets a suffix where it is taken."""
    taken = model.graph.initializers
    unique, count = name, 1
    while unique in taken:
        unique, count = f"{name}_{count}", count + 1
    value = ir.val(unique, const_value=ir.tensor(array, name=unique))
    model.graph.register_initializer(value)
    return value


def replace(at: ir.Node, new: Sequence[ir.Node], old: Sequence[ir.Value], by: Sequence[ir.Value]) -> None:
    """Insert the nodes `new` before `at`, let the values `by` stand for the values `old`, and drop what is then dead.

    A replacing value takes the name, type and shape of the one it replaces, so the graph's outputs keep their names.
    """
    graph = cast("ir.Graph", at.graph)
    graph.insert_before(at, new)
    for node in new:
        graph.opset_imports.setdefault(node.domain, 1)
    for before, after in zip(old, by, strict=True):
        after.type = before.type or after.type
        after.shape = before.shape or after.shape
        name = before.name
        takes_name = before.is_graph_output() or after.producer() in new
        before.replace_all_uses_with(after, replace_graph_outputs=True)
        if takes_name:
            before.name, after.name = None, name
    remove_dead([value.producer() for value in old])


def remove_dead(candidates: Sequence[ir.Node | None]) -> None:
    """Remove the nodes whose outputs nobody reads, and then those that only they needed."""
    pending = list(candidates)
    while pending:
        node = pending.pop()
        if node is None or node.graph is None:
            continue
        if any(value.uses() or value.is_graph_output() for value in node.outputs):
            continue
        feeding = [value.producer() for value in node.inputs if value is not None]
        node.graph.remove(node, safe=True)
        pending.extend(feeding)
