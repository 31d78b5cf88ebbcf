"""Masks, biases and positions over a cache whose number of columns is fixed."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import initializer, metadata, replace
from compiler.optimize.passes.visibility import POSITIONS, Rule

OPSET = 24


class Columns:
    """Makes what a decoder needs over `capacity` columns, each thing once, in front of the graph's first node."""

    def __init__(self, model: ir.Model, capacity: int) -> None:
        self._model, self._graph, self._capacity = model, model.graph, capacity
        self._first = model.graph[0]
        self._ruled: list[tuple[Rule, ir.Value]] = []
        self.positions = self._input()
        first = self._constant("first", np.array(0))
        self._indices = self._node("Gather", [self.positions, first], {"axis": 1}, ["batch"], ir.DataType.INT64)

    def mask(self, rule: Rule) -> ir.Value:
        """(batch, heads, sequence, capacity): bool, or float32 where the rule is added to scores."""
        for known, value in self._ruled:
            if _equal(known, rule):
                return value
        made = self._added(rule) if rule.added else self._in_heads(self._visible(rule.window), rule.heads)
        self._ruled.append((rule, made))
        return made

    def count(self) -> ir.Value:
        """The capacity, (1,) int64."""
        return self._constant("capacity", np.array([self._capacity]))

    def scatter(self, append: ir.Node) -> None:
        """Write what is new into the past's buffer instead of appending it."""
        inputs = [*append.inputs, self._indices]
        node = ir.node("TensorScatter", inputs, {"axis": -2}, metadata_props=metadata(append), version=OPSET)
        replace(append, [node], append.outputs, node.outputs)

    def _added(self, rule: Rule) -> ir.Value:
        never = self._constant("never", np.array(np.finfo(np.float32).min))
        nothing = np.zeros((1, rule.heads, 1, 1), np.float32)
        bias = self._constant("no_bias", nothing) if rule.bias is None else self._bias(rule.bias[:, : self._capacity])
        shape: list[int | str] = ["batch", rule.heads, "sequence", self._capacity]
        return self._node("Where", [self._visible(rule.window), bias, never], {}, shape, ir.DataType.FLOAT)

    def _visible(self, window: int) -> ir.Value:
        """(batch, 1, sequence, capacity) bool."""
        shape: list[int | str] = ["batch", 1, "sequence", self._capacity]
        columns, axes = self._constant("columns", np.arange(self._capacity)), self._constant("axes", np.array([1, 3]))
        row = self._node("Unsqueeze", [self.positions, axes], {}, [*shape[:3], 1], ir.DataType.INT64)
        visible = self._node("LessOrEqual", [columns, row], {}, shape, ir.DataType.BOOL)
        if window:
            size = self._constant("window", np.array(window))
            oldest = self._node("Sub", [row, size], {}, [*shape[:3], 1], ir.DataType.INT64)
            recent = self._node("Greater", [columns, oldest], {}, shape, ir.DataType.BOOL)
            visible = self._node("And", [visible, recent], {}, shape, ir.DataType.BOOL)
        return visible

    def _in_heads(self, visible: ir.Value, heads: int) -> ir.Value:
        """The same for every head, (batch, heads, sequence, capacity)."""
        if heads == 1:
            return visible
        shape: list[int | str] = ["batch", heads, "sequence", self._capacity]
        also = self._constant("heads", np.zeros((1, heads, 1, 1), np.bool_))
        return self._node("Or", [visible, also], {}, shape, ir.DataType.BOOL)

    def _bias(self, bias: np.ndarray) -> ir.Value:
        """(batch, heads, sequence, capacity) out of (heads, distance); what lies ahead gets the bias of distance 0."""
        shape: list[int | str] = ["batch", "sequence", self._capacity]
        columns, axes = self._constant("columns", np.arange(self._capacity)), self._constant("axes", np.array([2]))
        row = self._node("Unsqueeze", [self.positions, axes], {}, ["batch", "sequence", 1], ir.DataType.INT64)
        signed = self._node("Sub", [row, columns], {}, shape, ir.DataType.INT64)
        distance = self._node("Max", [signed, self._constant("zero", np.array(0))], {}, shape, ir.DataType.INT64)
        table = self._constant("bias", np.ascontiguousarray(bias.T))
        found = self._node("Gather", [table, distance], {}, [*shape, len(bias)], ir.DataType.FLOAT)
        turned: list[int | str] = ["batch", len(bias), "sequence", self._capacity]
        return self._node("Transpose", [found], {"perm": [0, 3, 1, 2]}, turned, ir.DataType.FLOAT)

    def _input(self) -> ir.Value:
        known = next((value for value in self._graph.inputs if value.name == POSITIONS), None)
        if known is None:
            kind = ir.TensorType(ir.DataType.INT64)
            known = ir.Value(name=POSITIONS, shape=ir.Shape(["batch", "sequence"]), type=kind)
            self._graph.inputs.insert(1, known)
        return known

    def _constant(self, name: str, array: np.ndarray) -> ir.Value:
        kinds = {"f": np.float32, "i": np.int64, "b": np.bool_}
        return initializer(self._model, f"cache.{name}", array.astype(kinds[array.dtype.kind]))

    def _node(
        self,
        operator: str,
        inputs: list[ir.Value],
        attributes: dict[str, int | list[int]],
        shape: list[int | str],
        dtype: ir.DataType,
    ) -> ir.Value:
        node = ir.node(operator, inputs, attributes)
        node.outputs[0].shape, node.outputs[0].type = ir.Shape(shape), ir.TensorType(dtype)
        self._graph.insert_before(self._first, node)
        return node.outputs[0]


def _equal(one: Rule, other: Rule) -> bool:
    if one[:3] != other[:3] or (one.bias is None) != (other.bias is None):
        return False
    return one.bias is None or np.array_equal(one.bias, other.bias)  # type: ignore[arg-type]
