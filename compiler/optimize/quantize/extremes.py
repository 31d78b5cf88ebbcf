"""The largest numbers inside a graph on calibration feeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize.execute import Executor
from compiler.optimize.passes.base import Feeds
from compiler.optimize.passes.graph import attribute, dims
from compiler.optimize.quantize.observe import fitted

SCORES = ".scores"  # after an Attention's output: a bound of the scores inside it


def extremes(model: ir.Model, names: Sequence[str], feeds: Sequence[Feeds]) -> dict[str, float]:
    """The largest magnitude of every named float value, padding included.

    The graph itself reduces each value to one number as soon as it is made, so none is kept. For an Attention whose
    output is named, the name with `SCORES` appended bounds its scaled scores: no product is larger than that of the
    vectors' lengths.

    Raises:
        EngineError: ONNX Runtime cannot run the graph.
    """
    part = model.clone()
    inputs = {value.name: value for value in part.graph.inputs}
    values = ir.convenience.create_value_mapping(part.graph)
    empty = ir.val("extremes.zero", const_value=ir.tensor(np.zeros(1, np.float32), name="extremes.zero"))
    flat = ir.val("extremes.flat", const_value=ir.tensor(np.array([-1]), name="extremes.flat"))
    for constant in (empty, flat):
        part.graph.register_initializer(constant)

    def reduced(value: ir.Value, name: str, root: bool = False) -> ir.Value:
        """A scalar; the largest length of the last axis' vectors instead, if `root`."""
        operator = ir.node("ReduceL2", [value, flat]) if root else ir.node("Abs", [value])
        listed = ir.node("Reshape", [operator.outputs[0], flat])
        padded = ir.node("Concat", [listed.outputs[0], empty], {"axis": 0})
        largest = ir.node("ReduceMax", [padded.outputs[0]], {"keepdims": 0})
        place = value.producer() or part.graph[0]
        part.graph.insert_after(place, [operator, listed, padded, largest])
        largest.outputs[0].name = name
        largest.outputs[0].type, largest.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
        return largest.outputs[0]

    outputs: list[ir.Value] = []
    scales: dict[str, float] = {}
    wanted = set(names)
    for name in names:
        if name not in inputs:
            outputs.append(reduced(values[name], f"{name}.largest"))
    for node in [node for node in model.graph if node.op_type == "Attention" and node.outputs[0].name in wanted]:
        name, (query, key) = str(node.outputs[0].name), node.inputs[:2]
        scales[name] = _scale(node)
        for source, suffix in ((query, ".query"), (key, ".key")):
            if source is not None and source.name:
                outputs.append(reduced(values[source.name], name + suffix, root=True))
    part.graph.outputs[:] = outputs
    RemoveUnusedNodesPass()(part)
    found: dict[str, float] = {}
    fed = (fitted(part.graph.inputs, feed) for feed in feeds)
    for feed, arrays in zip(feeds, Executor().stream(part, fed), strict=True):
        numbers = {name: float(array) for name, array in arrays.items()}
        largest = {name: numbers[f"{name}.largest"] for name in names if name not in inputs}
        largest |= {name: float(np.abs(feed[name]).max(initial=0)) for name in wanted & feed.keys()}
        largest |= {
            name + SCORES: scale * numbers[f"{name}.query"] * numbers[f"{name}.key"] for name, scale in scales.items()
        }
        for name, number in largest.items():
            found[name] = max(found.get(name, 0.0), number) if not math.isnan(number) else math.inf
    return found


def _scale(node: ir.Node) -> float:
    """What an Attention multiplies its scores by."""
    shape = dims(node.inputs[0]) or ()
    width = shape[-1] if shape and isinstance(shape[-1], int) else 1
    if len(shape) == 3:
        width //= attribute(node, "q_num_heads", 1)
    return attribute(node, "scale", 1.0 / math.sqrt(width))
