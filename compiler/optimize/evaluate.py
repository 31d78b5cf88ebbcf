"""Run part of a graph, to recognise what it computes by its values rather than by its shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compiler.optimize.execute import Executor

Feeds = dict[str, np.ndarray]


def inputs_of(values: Sequence[ir.Value]) -> set[str]:
    """Names of the graph inputs that `values` depend on."""
    return {value.name or "" for value in _reached(values) if value.is_graph_input()}


def evaluate(model: ir.Model, values: Sequence[ir.Value], feeds: Feeds) -> list[np.ndarray]:
    """The arrays that `values` have on `feeds`; only their ancestors are run.

    `feeds` may hold more than is needed, but every graph input that `values` depend on.
    """
    part = _part(model, values)
    wanted = {value.name for value in part.graph.inputs}
    (found,) = Executor().run(part, [{name: array for name, array in feeds.items() if name in wanted}])
    return [found[value.name or ""] for value in values]


def _reached(values: Sequence[ir.Value]) -> list[ir.Value]:
    """`values` and everything they are computed from, each once."""
    seen: dict[int, ir.Value] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        producer = value.producer()
        if producer is not None:
            waiting.extend(source for source in producer.inputs if source is not None)
    return list(seen.values())


def _part(model: ir.Model, values: Sequence[ir.Value]) -> ir.Model:
    """A model of its own that computes `values`; the original is left as it is."""
    reached = _reached(values)
    kept = {id(value.producer()) for value in reached if value.producer() is not None}
    copies: dict[int, ir.Value] = {}

    def copy(value: ir.Value) -> ir.Value:
        if id(value) not in copies:
            copies[id(value)] = ir.Value(
                name=value.name, type=value.type, shape=value.shape, const_value=value.const_value
            )
        return copies[id(value)]

    nodes = []
    for node in model.graph:
        if id(node) not in kept:
            continue
        nodes.append(
            ir.Node(
                node.domain,
                node.op_type,
                [None if value is None else copy(value) for value in node.inputs],
                list(node.attributes.values()),
                outputs=[copy(value) for value in node.outputs],
                version=node.version,
            )
        )
    inputs = [copy(value) for value in reached if value.is_graph_input()]
    initializers = [copy(value) for value in reached if value.is_initializer() and not value.is_graph_input()]
    outputs = [copy(value) for value in values]
    graph = ir.Graph(inputs, outputs, nodes=nodes, initializers=initializers, opset_imports=dict(model.opset_imports))
    return ir.Model(graph, ir_version=model.ir_version)
