"""Casts between float32 and a narrow format, as few as there can be."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import metadata


class Casts:
    """Rewrites a graph whose nodes have been chosen: each value is cast once, each constant is stored narrow."""

    def __init__(self, model: ir.Model, narrow: ir.DataType) -> None:
        self._graph = model.graph
        self._narrow = narrow
        self._cast: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._stored: dict[ir.Value, ir.Value] = {}

    def apply(
        self,
        nodes: Collection[ir.Node],
        narrow: Collection[ir.Value],
        floats: Collection[ir.Value],
        constants: Collection[ir.Value],
        indifferent: Collection[str],
    ) -> None:
        """Let `nodes` compute in the narrow format, so that the values `narrow` are of it.

        Args:
            floats: all values of float32 now; `constants` are those that are initializers or Constant nodes.
            indifferent: operators that read a value of either type.
        """
        for node in tuple(self._graph):
            if node.op_type in indifferent:
                continue
            chosen = node in nodes
            for index, value in enumerate(node.inputs):
                if value is None or value not in floats:
                    continue
                if value in constants:
                    if chosen:
                        node.replace_input_with(index, self._constant(value))
                elif chosen != (value in narrow):
                    node.replace_input_with(index, self._as(value, self._narrow if chosen else ir.DataType.FLOAT))
            if chosen and node.op_type == "DequantizeLinear" and "output_dtype" in node.attributes:
                node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", int(self._narrow))
        for value in narrow:
            value.type = ir.TensorType(self._narrow)
        self._widen_outputs(narrow)
        for value, stored in self._stored.items():
            if value.is_initializer() and not value.uses() and not value.is_graph_output():
                name = value.name
                self._graph.initializers.pop(str(name))
                stored.name = name

    def _as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """The value cast to `dtype`, from what it was before if a Cast made it of something that is no float."""
        if (value, dtype) not in self._cast:
            producer = value.producer()
            source = value
            if producer is not None and producer.op_type == "Cast" and producer.inputs[0] is not None:
                source = producer.inputs[0]
            node = ir.node("Cast", [source], {"to": int(dtype)}, metadata_props=metadata(producer) if producer else {})
            made = node.outputs[0]
            made.name, made.shape, made.type = f"{value.name}.{dtype.name.lower()}", value.shape, ir.TensorType(dtype)
            if producer is None:
                self._graph.insert_before(self._graph[0], node)
            else:
                self._graph.insert_after(producer, node)
            self._cast[value, dtype] = made
        return self._cast[value, dtype]

    def _constant(self, value: ir.Value) -> ir.Value:
        """The constant in the narrow format, rounded when it is read: weights are not held in memory twice."""
        if value not in self._stored:
            tensor = ir.convenience.get_const_tensor(value)
            assert tensor is not None
            name, dtype = f"{value.name}.{self._narrow.name.lower()}", self._narrow

            def rounded(tensor: ir.TensorProtocol = tensor) -> ir.TensorProtocol:
                return ir.Tensor(np.ascontiguousarray(tensor.numpy()).astype(dtype.numpy()), dtype=dtype, name=name)

            shape = ir.Shape(tensor.shape.numpy())
            lazy = ir.LazyTensor(rounded, dtype=dtype, shape=shape, name=name)
            made = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype), const_value=lazy)
            self._graph.register_initializer(made)
            self._stored[value] = made
        return self._stored[value]

    def _widen_outputs(self, narrow: Collection[ir.Value]) -> None:
        """Answers stay float32; the cache's present is of the past's type."""
        for index, value in enumerate(self._graph.outputs):
            if value not in narrow or (value.name or "").startswith("present."):
                continue
            name, value.name = value.name, f"{value.name}.{self._narrow.name.lower()}"
            wide = self._as(value, ir.DataType.FLOAT)
            wide.name = name
            self._graph.outputs[index] = wide
