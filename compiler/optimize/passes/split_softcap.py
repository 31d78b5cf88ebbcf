"""split-softcap: attention whose scores are capped, for engines whose Attention does not know softcap.

Attention(q, k, v, mask) with softcap c  ->  softmax(c tanh(q k^T scale / c) + mask) v
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import attribute, dims, initializer, input_at, metadata, nodes, replace

PLAIN = frozenset({"scale", "softcap"})


@dataclass(frozen=True)
class SplitSoftcap(Pass):
    """Attention with `softcap` and heads in four dims -> products, a tanh, a softmax.

    Query heads that share a key head are taken together as rows of one matrix, so keys are not repeated.
    """

    name: ClassVar[str] = "split-softcap"

    def apply(self, model: ir.Model, context: Context) -> bool:
        return any([_split(model, node) for node in nodes(model, "Attention")])  # noqa: C419 - all of them


def _split(model: ir.Model, node: ir.Node) -> bool:
    cap = attribute(node, "softcap", 0.0)
    query, key, value, mask = (input_at(node, index) for index in range(4))
    shape, keys = dims(query), dims(key)
    if not cap or query is None or key is None or value is None or shape is None or keys is None:
        return False
    heads, width, groups = shape[1], shape[-1], keys[1]
    if len(shape) != 4 or any(isinstance(size, str) for size in (heads, width, groups)):
        return False
    if not PLAIN.issuperset(node.attributes) or len(node.inputs) > 4 or len(node.outputs) > 1:
        return False
    scale = attribute(node, "scale", 1.0 / math.sqrt(int(width)))
    made: list[ir.Node] = []

    def add(operator: str, *inputs: ir.Value, **attributes: int | list[int]) -> ir.Value:
        made.append(ir.node(operator, inputs, attributes, metadata_props=metadata(node)))
        return made[-1].outputs[0]

    def constant(name: str, array: np.ndarray) -> ir.Value:
        return initializer(model, f"{node.outputs[0].name}.{name}", array)

    # (batch, heads, sequence, width) -> (batch, groups, heads / groups * sequence, width), and back
    together = constant("together", np.array([0, int(groups), -1, int(width)]))
    apart = add("Concat", constant("outer", np.array([0, int(heads)])), add("Shape", query, start=2, end=3),
                constant("inner", np.array([-1])), axis=0)  # fmt: skip
    products = add("MatMul", add("Reshape", query, together), add("Transpose", key, perm=[0, 1, 3, 2]))
    scores = add("Reshape", products, apart)
    bounded = add("Tanh", add("Mul", scores, constant("scale", np.array(scale / cap, np.float32))))
    capped = add("Mul", bounded, constant("cap", np.array(cap, np.float32)))
    if mask is not None and mask.dtype == ir.DataType.BOOL:
        never = constant("never", np.array(np.finfo(np.float32).min))
        capped = add("Where", mask, capped, never)
    elif mask is not None:
        capped = add("Add", capped, mask)
    shares = add("Softmax", capped, axis=-1)
    rows = constant("rows", np.array([0, int(groups), -1]))
    columns = add("Shape", value, start=2, end=3)
    grouped = add("Reshape", shares, add("Concat", rows, columns, axis=0))
    mixed = add("MatMul", grouped, value)
    result = add("Reshape", mixed, apart)
    replace(node, made, node.outputs, [result])
    return True
