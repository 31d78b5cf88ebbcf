"""Changes of a lowered graph, as a mistake in a pass would make them. Each changes the model in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import MODULE, constant, initializer
from tests.planted import stored

Edit = Callable[[ir.Model], None]


def find(model: ir.Model, op_type: str, module: str = "", nth: int = 0) -> ir.Node:
    """The nth node of this operator in a module of this path (or whose path ends so), in order."""
    found = [
        node
        for node in model.graph
        if node.op_type == op_type and (not module or f".{node.metadata_props.get(MODULE, '')}".endswith(f".{module}"))
    ]
    return found[nth]


def weight(model: ir.Model, name: str) -> np.ndarray:
    """A copy of the only initializer whose name ends so; of a quantized one, the matrix that it stands for."""
    if (found := stored.read(model, name)) is not None:
        return found
    return _named(model, name).const_value.numpy().copy()  # type: ignore[union-attr]


def put(model: ir.Model, name: str, array: np.ndarray) -> None:
    """Give that initializer other values."""
    if stored.read(model, name) is not None:
        stored.write(model, name, array)
        return
    value = _named(model, name)
    value.const_value = ir.tensor(np.ascontiguousarray(array), name=value.name)


def change(name: str, by: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """The initializer with `by` applied to it."""

    def edit(model: ir.Model) -> None:
        before = weight(model, name)
        put(model, name, by(before.copy()).astype(before.dtype))

    return edit


def copy(target: str, source: str) -> Edit:
    """An initializer with another one's values."""
    return lambda model: put(model, target, weight(model, source))


def swap(one: str, other: str) -> Edit:
    """Two initializers with each other's values."""

    def edit(model: ir.Model) -> None:
        first, second = weight(model, one), weight(model, other)
        put(model, one, second)
        put(model, other, first)

    return edit


def attribute(
    op_type: str, name: str, by: Callable[[float], float], module: str = "", *, nth: int = 0, integer: bool = False
) -> Edit:
    """A node's number, changed."""

    def edit(model: ir.Model) -> None:
        node = find(model, op_type, module, nth)
        before = node.attributes[name].value if name in node.attributes else 0
        after = by(before)  # type: ignore[arg-type]
        node.attributes[name] = ir.AttrInt64(name, int(after)) if integer else ir.AttrFloat32(name, float(after))

    return edit


def scalar(op_type: str, index: int, by: Callable[[np.ndarray], np.ndarray], module: str = "", nth: int = 0) -> Edit:
    """A node's constant input, changed for this node alone."""

    def edit(model: ir.Model) -> None:
        node = find(model, op_type, module, nth)
        before = constant(node.inputs[index])
        assert before is not None
        changed = initializer(model, f"planted.{op_type}", np.asarray(by(before)).astype(before.dtype))
        node.replace_input_with(index, changed)

    return edit


def exchange(op_type: str, one: int, other: int, module: str = "", nth: int = 0) -> Edit:
    """Two of a node's inputs change places."""

    def edit(model: ir.Model) -> None:
        node = find(model, op_type, module, nth)
        first, second = node.inputs[one], node.inputs[other]
        node.replace_input_with(one, second)
        node.replace_input_with(other, first)

    return edit


def forget(op_type: str, index: int, module: str = "", nth: int = 0) -> Edit:
    """One of a node's inputs is left empty."""
    return lambda model: find(model, op_type, module, nth).replace_input_with(index, None)


def pass_by(op_type: str, keep: int = 0, module: str = "", nth: int = 0) -> Edit:
    """A node that does nothing: whoever reads its first output reads its input `keep`."""

    def edit(model: ir.Model) -> None:
        node = find(model, op_type, module, nth)
        source = node.inputs[keep]
        assert source is not None
        reroute(model, node.outputs[0], source)

    return edit


def unbiased(module: str) -> Edit:
    """A product without its bias, which an Add behind it holds, or the quantized product itself."""

    def edit(model: ir.Model) -> None:
        inside = [node.op_type for node in model.graph if node.metadata_props.get(MODULE) == module]
        without = forget("MatMulNBits", 5, module) if "MatMulNBits" in inside else pass_by("Add", module=module)
        without(model)

    return edit


def reroute(model: ir.Model, value: ir.Value, to: ir.Value, but: Sequence[ir.Node] = ()) -> None:
    """Whoever reads `value` reads `to`, except the nodes `but`. An output of the graph keeps its name."""
    for user, index in tuple(value.uses()):
        if user not in but:
            user.replace_input_with(index, to)
    if value.is_graph_output():
        node = ir.node("Identity", [to])
        value.producer().graph.insert_after(value.producer(), node)  # type: ignore[union-attr]
        outputs = model.graph.outputs
        place = next(index for index, each in enumerate(outputs) if each is value)
        name, value.name = value.name, f"{value.name}.before"
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = name, value.type, value.shape
        outputs[place] = node.outputs[0]


def through(op_type: str, *more: np.ndarray, of: str, output: int = 0, module: str = "", nth: int = 0) -> Edit:
    """A further node behind an output of the nth node `of`: OP(output, *more)."""

    def edit(model: ir.Model) -> None:
        source = find(model, of, module, nth)
        after(model, source.outputs[output], op_type, *more)

    return edit


def after(model: ir.Model, value: ir.Value, op_type: str, *more: np.ndarray | ir.Value, **attributes: int) -> ir.Value:
    """Put OP(value, *more) between a value and all that read it."""
    node = new(model, value, op_type, value, *more, **attributes)
    reroute(model, value, node.outputs[0], but=[node])
    return node.outputs[0]


def new(
    model: ir.Model, behind: ir.Value, op_type: str, *inputs: np.ndarray | ir.Value | None, **attributes: int
) -> ir.Node:
    """A node right behind the one that makes `behind`, or in front of all where that is an input of the graph."""
    taken = [
        initializer(model, f"planted.{op_type}", each) if isinstance(each, np.ndarray) else each for each in inputs
    ]
    node = ir.node(op_type, taken, attributes)
    if (producer := behind.producer()) is not None:
        producer.graph.insert_after(producer, node)  # type: ignore[union-attr]
    else:
        model.graph.insert_before(model.graph[0], node)
    return node


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(model: ir.Model) -> None:
        for each in edits:
            each(model)

    return edit


def flipped_bit(row: int, column: int, bit: int) -> Callable[[np.ndarray], np.ndarray]:
    """One bit of one float32 of a matrix."""

    def flip(array: np.ndarray) -> np.ndarray:
        array.view(np.uint32)[row, column] ^= np.uint32(1 << bit)
        return array

    return flip


def columns_changed(first: slice, second: slice) -> Callable[[np.ndarray], np.ndarray]:
    """Two blocks of columns (the last axis) change places."""

    def swapped(array: np.ndarray) -> np.ndarray:
        array[..., first], array[..., second] = array[..., second].copy(), array[..., first].copy()
        return array

    return swapped


def zero_rows(rows: slice) -> Callable[[np.ndarray], np.ndarray]:
    def zeroed(array: np.ndarray) -> np.ndarray:
        array[rows] = 0
        return array

    return zeroed


def clamped_rows(last: int) -> Callable[[np.ndarray], np.ndarray]:
    """Every row behind `last` is like it: a table that ends there."""

    def clamped(array: np.ndarray) -> np.ndarray:
        array[last:] = array[last]
        return array

    return clamped


def rounded_half(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16)


def rounded_bytes(array: np.ndarray) -> np.ndarray:
    """8-bit integers with one scale."""
    scale = np.abs(array).max() / 127
    return np.round(array / scale) * scale


def _named(model: ir.Model, name: str) -> ir.Value:
    found = [value for key, value in model.graph.initializers.items() if key == name or key.endswith(f".{name}")]
    assert len(found) == 1, f"{name}: {[value.name for value in found]}"
    return found[0]
