"""Computation on (batch * sequence, width) between two Reshapes, done on (batch, sequence, width) instead."""

from __future__ import annotations

import onnx_ir as ir

from compiler.optimize.passes.graph import attribute, constant, dims, metadata, nodes, replace

POINTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Erf", "Exp", "Gelu", "Relu", "Sigmoid", "Tanh"})
NORMS = frozenset({"LayerNormalization", "RMSNormalization"})


def unflatten(model: ir.Model) -> None:
    """Drop a Reshape to two dims and those back from it; a Gemm between them becomes MatMul and Add.

    Nothing changes where anything in between needs the two-dimensional form.
    """
    for opening in nodes(model, "Reshape"):
        source, shape = dims(opening.inputs[0]), opening.outputs[0].shape
        if source is None or len(source) != 3 or shape is None or len(shape) != 2 or shape[1] != source[2]:
            continue
        members, closings = _region(model, opening, source)
        if closings:
            _rebuild(opening, members, closings)


def _region(model: ir.Model, opening: ir.Node, source: tuple[int | str, ...]) -> tuple[list[ir.Node], list[ir.Node]]:
    """The nodes that read the flat tensor or what is made from it, and the Reshapes that end it; empty if unfit."""
    flat, members, closings = {opening.outputs[0]}, [], []
    for node in model.graph:
        if flat.isdisjoint(node.inputs):
            continue
        result = dims(node.outputs[0])
        if node.op_type == "Reshape" and result is not None and len(result) == 3 and result[:2] == source[:2]:
            closings.append(node)
        elif _fits(node, flat):
            members.append(node)
            flat.add(node.outputs[0])
        else:
            return [], []
    return ([], []) if any(value.is_graph_output() for value in flat) else (members, closings)


def _fits(node: ir.Node, flat: set[ir.Value]) -> bool:
    """Whether the node does the same to every row, so that rows may lie in two dims as well as in one."""
    first, *others = node.inputs
    if node.domain != "" or len(node.outputs) != 1:
        return False
    if node.op_type in POINTWISE:
        return all(value in flat or _is_vector(value) for value in node.inputs)
    if first not in flat or not flat.isdisjoint(others):
        return False
    if node.op_type in NORMS:
        return attribute(node, "axis", -1) in (-1, 1) and all(map(_is_vector, others))
    if node.op_type == "MatMul":
        weight = dims(others[0])
        return weight is not None and len(weight) == 2
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1 and not attribute(node, "transA", 0)
    return node.op_type == "Gemm" and plain and all(map(_is_vector, others[1:]))


def _is_vector(value: ir.Value | None) -> bool:
    array = constant(value)
    return array is not None and array.ndim <= 1


def _rebuild(opening: ir.Node, members: list[ir.Node], closings: list[ir.Node]) -> None:
    source = opening.inputs[0]
    deep: dict[ir.Value | None, ir.Value | None] = {opening.outputs[0]: source}
    for node in members:
        inputs = [deep.get(value, value) for value in node.inputs]
        info = metadata(node)
        if node.op_type == "Gemm":
            made = _product(inputs, attribute(node, "transB", 0) == 1, info)
        else:
            attributes = [value for name, value in node.attributes.items() if name != "axis"]
            if "axis" in node.attributes:
                attributes.append(ir.AttrInt64("axis", -1))
            made = [ir.Node("", node.op_type, inputs, attributes, metadata_props=info)]
        result, width = made[-1].outputs[0], node.outputs[0].shape
        result.name, result.type = f"{node.outputs[0].name}.deep", node.outputs[0].type
        if source is not None and source.shape is not None and width is not None:
            result.shape = ir.Shape([*source.shape[:2], width[1]])
        if node.graph is not None:
            node.graph.insert_before(node, made)
        deep[node.outputs[0]] = result
    for closing in closings:
        value = deep[closing.inputs[0]]
        if value is not None:
            replace(closing, [], closing.outputs, [value])


def _product(inputs: list[ir.Value | None], transposed: bool, info: dict[str, str]) -> list[ir.Node]:
    """Gemm's MatMul and Add; a transposed weight keeps its Transpose, which folds later."""
    source, weight, *bias = inputs
    made = [ir.node("Transpose", [weight], {"perm": [1, 0]}, metadata_props=info)] if transposed else []
    made.append(ir.node("MatMul", [source, made[0].outputs[0] if made else weight], metadata_props=info))
    if bias:
        made.append(ir.node("Add", [made[-1].outputs[0], bias[0]], metadata_props=info))
    return made
