"""What the tests of mixed precision share: a layer, and what was made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from compiler.optimize.execute import Executor
from compiler.optimize.passes.base import Context, Feeds
from compiler.optimize.passes.mixed_precision import MixedPrecision
from tests.optimize.graphs import exported, graph, random

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
FEED = {"input_ids": IDS, "attention_mask": (IDS > 0).astype(np.int64)}

# A layer with a residual, an attention that a mask of large numbers guards, and a feed-forward part.
LAYER = """
g (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask, float[11, 16] table, float[16] ones,
   float[16, 16] wq, float[16, 16] wk, float[16, 16] wv, float[16, 32] up, float[32, 16] down, float lowest,
   float one_float, int64[4] split, int64[3] merged, int64[2] axes) => (float[batch, sequence, 16] y) {
    x = Gather (table, input_ids)
    normed = LayerNormalization (x, ones)
    q = MatMul (normed, wq)
    k = MatMul (normed, wk)
    v = MatMul (normed, wv)
    q4 = Reshape (q, split)
    k4 = Reshape (k, split)
    v4 = Reshape (v, split)
    qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    kt = Transpose <perm = [0, 2, 1, 3]> (k4)
    vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    real = Cast <to = 1> (attention_mask)
    hidden = Sub (one_float, real)
    low = Mul (hidden, lowest)
    mask = Unsqueeze (low, axes)
    kT = Transpose <perm = [0, 1, 3, 2]> (kt)
    scores = MatMul (qt, kT)
    guarded = Add (scores, mask)
    shares = Softmax (guarded)
    mixed = MatMul (shares, vt)
    turned = Transpose <perm = [0, 2, 1, 3]> (mixed)
    joined = Reshape (turned, merged)
    summed = Add (x, joined)
    wide = MatMul (summed, up)
    active = Relu (wide)
    back = MatMul (active, down)
    y = Add (summed, back)
}
"""


def layer(**changes: np.ndarray) -> ir.Model:
    weights = {name: random(16, 16, seed=i) / 4 for i, name in enumerate(("wq", "wk", "wv"))}
    weights |= {"table": random(11, 16), "ones": np.ones(16, np.float32)}
    weights |= {"up": random(16, 32, seed=4) / 4, "down": random(32, 16, seed=5) / 4}
    weights |= {"lowest": np.array(np.finfo(np.float32).min), "one_float": np.array(1, np.float32)}
    sizes = {"split": [0, 0, 2, 8], "merged": [0, 0, 16], "axes": [1, 2]}
    return graph(LAYER, **(weights | {name: np.array(size) for name, size in sizes.items()} | changes))


def apply(subject: ir.Model, pass_: MixedPrecision | None = None, feeds: Sequence[Feeds] = (FEED,)) -> bool:
    modified = (pass_ or MixedPrecision()).apply(subject, Context(exported=exported(), calibration=lambda: feeds))
    RemoveUnusedNodesPass()(subject)
    ShapeInferencePass()(subject)
    return modified


def run(subject: ir.Model, feed: Feeds = FEED) -> np.ndarray:
    inputs = {value.name for value in subject.graph.inputs}
    return Executor().run(subject, [{k: v for k, v in feed.items() if k in inputs}])[0]["y"]


def naive(subject: ir.Model) -> ir.Model:
    """Everything in float16, as a plain cast of a model does it."""
    for value in subject.graph.initializers.values():
        assert value.const_value is not None
        if value.const_value.dtype == ir.DataType.FLOAT:
            with np.errstate(over="ignore"):
                value.const_value = ir.tensor(value.const_value.numpy().astype(np.float16), name=value.name)
    for node in tuple(subject.graph):
        if node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT16))
        for value in node.outputs:
            value.type = ir.TensorType(ir.DataType.FLOAT16)
    return subject


def computed_in(subject: ir.Model) -> dict[str, str]:
    """For every node's output the type of the first float that goes into the node."""
    return {
        str(node.outputs[0].name): next((kind for value in node.inputs if (kind := _float(value))), "")
        for node in subject.graph
    }


def _float(value: ir.Value | None) -> str:
    return str(value.dtype) if value is not None and value.dtype is not None and "FLOAT" in str(value.dtype) else ""


def operators(subject: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in subject.graph)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
