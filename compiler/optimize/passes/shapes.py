"""Rewrites that follow from the shapes a graph states: equal names are equal sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import (
    attribute,
    constant,
    dims,
    initializer,
    input_at,
    metadata,
    nodes,
    producer,
    replace,
)

Dim = int | str | None

COPY, INFER = 0, -1


def drop_identities(model: ir.Model) -> None:
    """Remove nodes that give their input back, and merge a Transpose into the Transpose it reads."""
    for node in nodes(model, "Transpose"):
        _merge_transposes(node)
    for op_type, gives_input_back in _IDENTITIES.items():
        for node in nodes(model, op_type):
            source, result = node.inputs[0], node.outputs[0]
            if source is None or not gives_input_back(node):
                continue
            if result.is_graph_output() and (source.producer() is None or source.is_graph_output()):
                continue
            replace(node, [], [result], [source])


def simplify_reshapes(model: ir.Model) -> None:
    """Give every Reshape a literal shape where the graph's dims allow it, and merge Reshape(Reshape(x)).

    A dim that the input has at the same position becomes 0 (copy it); at most one other unknown becomes -1 (infer it).
    """
    for node in nodes(model, "Reshape"):
        source, shape = node.inputs
        if source is None or shape is None or source.shape is None:
            continue
        inner = producer(source, "Reshape")
        literal = _literal(source, shape) if constant(shape) is None else None
        if literal is None and inner is not None:
            literal, source = _through(inner, node), inner.inputs[0]
        if literal is None:
            continue
        target = initializer(model, f"{node.outputs[0].name}.shape", np.array(literal, dtype=np.int64))
        new = ir.node("Reshape", [source, target], metadata_props=metadata(node))
        replace(node, [new], node.outputs, new.outputs)


def symbolic(value: ir.Value | None) -> list[Dim] | None:
    """The elements of a shape tensor: sizes, dim names, None for an unknown one. None if their number is unknown."""
    if value is None:
        return None
    array = constant(value)
    if array is not None:
        return [int(element) for element in array.reshape(-1)] if array.size <= 16 else None
    node = value.producer()
    if node is None or node.domain != "":
        return None
    if node.op_type == "Shape":
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        if shape is None:
            return None
        named: list[Dim] = [dim if isinstance(dim, int) else dim.value for dim in shape]
        return named[attribute(node, "start", 0) : attribute(node, "end", len(named))]
    if node.op_type == "Concat":
        parts = [symbolic(part) for part in node.inputs]
        return None if None in parts else [dim for part in parts if part is not None for dim in part]
    if node.op_type in ("Squeeze", "Unsqueeze", "Reshape", "Cast", "Identity"):
        inner = symbolic(node.inputs[0])
        return inner if inner is not None and len(inner) == 1 else None
    if node.op_type == "Gather":
        inner, index = symbolic(node.inputs[0]), constant(node.inputs[1])
        return None if inner is None or index is None else [inner[int(i)] for i in index.reshape(-1)]
    return [None] if dims(value) in ((), (1,)) else None


def _literal(source: ir.Value, shape: ir.Value) -> list[int] | None:
    """The shape with copied and inferred dims instead of computed ones."""
    wanted = symbolic(shape)
    if wanted is None or 0 in wanted:
        return None
    have: Sequence[Dim] = dims(source) or ()
    literal: list[int] = []
    for index, dim in enumerate(wanted):
        copied = isinstance(dim, str) and index < len(have) and have[index] == dim
        literal.append(dim if isinstance(dim, int) else COPY if copied else INFER)
    return literal if literal.count(INFER) <= 1 else None


def _through(inner: ir.Node, outer: ir.Node) -> list[int] | None:
    """The outer literal shape, if it means the same when read from the inner Reshape's input."""
    shape = constant(outer.inputs[1])
    before, between = dims(inner.inputs[0]), dims(inner.outputs[0])
    if shape is None or attribute(outer, "allowzero", 0):
        return None
    for index in np.flatnonzero(shape == COPY):
        if before is None or between is None or index >= len(before) or before[index] != between[index]:
            return None
    return [int(dim) for dim in shape]


def _merge_transposes(outer: ir.Node) -> None:
    inner = producer(outer.inputs[0], "Transpose")
    if inner is None or "perm" not in inner.attributes or "perm" not in outer.attributes:
        return
    first, second = inner.attributes.get_ints("perm"), outer.attributes.get_ints("perm")
    perm = [first[axis] for axis in second]
    new = ir.node("Transpose", [inner.inputs[0]], {"perm": perm}, metadata_props=metadata(outer))
    replace(outer, [new], outer.outputs, new.outputs)


def _same_shape(node: ir.Node) -> bool:
    shape = dims(node.outputs[0])
    return shape is not None and dims(node.inputs[0]) == shape


def _whole_slice(node: ir.Node) -> bool:
    steps = constant(input_at(node, 4))
    return _same_shape(node) and (input_at(node, 4) is None or (steps is not None and bool((steps == 1).all())))


def _identity_perm(node: ir.Node) -> bool:
    perm = node.attributes.get_ints("perm", ())
    return len(perm) > 0 and tuple(perm) == tuple(range(len(perm)))


def _same_dtype(node: ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.dtype is not None and int(source.dtype) == attribute(node, "to", 0)


def _neutral(element: int) -> Callable[[ir.Node], bool]:
    def gives_input_back(node: ir.Node) -> bool:
        other = constant(node.inputs[1])
        return other is not None and other.size == 1 and other.item() == element and _same_shape(node)

    return gives_input_back


_IDENTITIES: dict[str, Callable[[ir.Node], bool]] = {
    "Identity": lambda node: True,
    "Add": _neutral(0),
    "Mul": _neutral(1),
    "Cast": _same_dtype,
    "Expand": _same_shape,
    "Reshape": _same_shape,
    "Slice": _whole_slice,
    "Transpose": _identity_perm,
}
