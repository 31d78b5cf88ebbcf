"""fuse-attention: an encoder's attention, and the head splitting around it, as one `com.microsoft.MultiHeadAttention`.

The kernel takes the projections as they come, (batch, sequence, heads * head_dim), and gives the same form back.
Attention that is causal, reads a cache or has fewer key heads than query heads is left for other passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_ir as ir

from compiler.optimize.evaluate import evaluate, inputs_of
from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import (
    MICROSOFT,
    attribute,
    constant,
    dims,
    initializer,
    input_at,
    metadata,
    producer,
    replace,
    used_once,
)
from compiler.optimize.passes.graph import nodes as nodes_of

MASK = "attention_mask"
SWAP = (0, 2, 1, 3)
UNSUPPORTED = ("is_causal", "softcap", "q_num_heads", "kv_num_heads", "qk_matmul_output_mode")
# Right padding, left padding, a hole, and none: a graph that agrees on all of these masks just padding.
PADDING = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], dtype=np.int64)
NEVER = -1e4


class Match(NamedTuple):
    """Projections (batch, sequence, hidden) and what the attention's result is merged into."""

    node: ir.Node
    projections: tuple[ir.Value, ir.Value, ir.Value]
    merge: ir.Node
    heads: int


@dataclass(frozen=True)
class FuseAttention(Pass):
    """Attention with its Reshapes and Transposes -> MultiHeadAttention.

    A mask that equals the padding mask, found by running its subgraph, becomes `key_padding_mask`; any other mask of
    full shape becomes `attention_bias`.
    """

    name: ClassVar[str] = "fuse-attention"

    def apply(self, model: ir.Model, context: Context) -> bool:
        matches = [match for node in nodes_of(model, "Attention") if (match := _match(node))]
        masks: dict[int, tuple[ir.Value | None, ir.Value | None] | None] = {}
        modified = False
        for match in matches:
            mask = input_at(match.node, 3)
            if id(mask) not in masks:
                masks[id(mask)] = _mask_inputs(model, mask, match.node)
            inputs = masks[id(mask)]
            if inputs is None:
                continue
            padding, bias = inputs
            attributes: dict[str, int | float] = {"num_heads": match.heads}
            if "scale" in match.node.attributes:
                attributes["scale"] = attribute(match.node, "scale", 0.0)
            arguments = [*match.projections, None, padding, bias]
            while arguments[-1] is None:
                arguments.pop()
            info = metadata(match.node)
            fused = ir.node("MultiHeadAttention", arguments, attributes, domain=MICROSOFT, metadata_props=info)
            replace(match.merge, [fused], match.merge.outputs, fused.outputs)
            modified = True
        return modified


def _match(node: ir.Node) -> Match | None:
    if any(name in node.attributes and attribute(node, name, 0) for name in UNSUPPORTED):
        return None
    if any(input_at(node, index) is not None for index in range(4, 7)):
        return None
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    query, key, value = (_before_split(part) for part in node.inputs[:3])
    heads = {shape[1] for part in node.inputs[:3] if (shape := dims(part)) is not None}
    merge = _merged(node.outputs[0])
    if query is None or key is None or value is None or merge is None or len(heads) != 1:
        return None
    (count,) = heads
    return Match(node, (query, key, value), merge, count) if isinstance(count, int) else None


def _before_split(value: ir.Value | None) -> ir.Value | None:
    """x (batch, sequence, hidden), if `value` is Transpose(Reshape(x)) (batch, heads, sequence, head_dim)."""
    transpose = producer(value, "Transpose")
    if transpose is None or tuple(transpose.attributes.get_ints("perm", ())) != SWAP:
        return None
    split = producer(transpose.inputs[0], "Reshape")
    before, after = (dims(split.inputs[0]), dims(split.outputs[0])) if split is not None else (None, None)
    if split is None or before is None or after is None or len(before) != 3 or before[:2] != after[:2]:
        return None
    return split.inputs[0]


def _merged(value: ir.Value) -> ir.Node | None:
    """The Reshape to (batch, sequence, hidden) that is the only reader of the only Transpose of `value`."""
    for op_type in ("Transpose", "Reshape"):
        if not used_once(value):
            return None
        (node,) = value.consumers()
        if node.op_type != op_type:
            return None
        if op_type == "Transpose" and tuple(node.attributes.get_ints("perm", ())) != SWAP:
            return None
        value = node.outputs[0]
    shape, split = dims(value), dims(node.inputs[0])
    return node if shape is not None and split is not None and len(shape) == 3 and shape[:2] == split[:2] else None


def _mask_inputs(
    model: ir.Model, mask: ir.Value | None, node: ir.Node
) -> tuple[ir.Value | None, ir.Value | None] | None:
    """(key_padding_mask, attention_bias) for an attention's mask; None where the kernel cannot take the mask."""
    if mask is None:
        return None, None
    if _is_padding(model, mask):
        source = next(value for value in model.graph.inputs if value.name == MASK)
        cast = ir.node("Cast", [source], {"to": int(ir.DataType.INT32)})
        model.graph.insert_before(model.graph[0], cast)
        cast.outputs[0].shape, cast.outputs[0].type = source.shape, ir.TensorType(ir.DataType.INT32)
        return cast.outputs[0], None
    query, key, shape = dims(node.inputs[0]), dims(node.inputs[1]), dims(mask)
    if query is None or key is None or shape is None or shape[-2:] != (query[2], key[2]) or len(shape) != 4:
        return None
    if shape[0] not in (1, query[0]) or shape[1] not in (1, query[1]):
        return None
    if mask.dtype != ir.DataType.BOOL:
        return None, mask
    allowed = initializer(model, "mask_allowed", np.array(0, dtype=np.float32))
    never = initializer(model, "mask_never", np.array(np.finfo(np.float32).min, dtype=np.float32))
    bias = ir.node("Where", [mask, allowed, never])
    model.graph.insert_before(node, bias)
    bias.outputs[0].shape, bias.outputs[0].type = mask.shape, ir.TensorType(ir.DataType.FLOAT)
    return None, bias.outputs[0]


def _is_padding(model: ir.Model, mask: ir.Value) -> bool:
    """Whether the mask hides exactly the keys where `attention_mask` is 0, for every query and head."""
    needed = inputs_of([mask])
    shapes = {value.name: dims(value) for value in model.graph.inputs}
    if MASK not in needed or constant(mask) is not None:
        return False
    if any(len(shapes[name] or ()) != 2 for name in needed):
        return False
    batch, length = PADDING.shape
    count = np.tile(np.arange(length, dtype=np.int64), (batch, 1))
    (found,) = evaluate(model, [mask], dict.fromkeys(needed, count) | {MASK: PADDING})
    seen = found if found.dtype == bool else found == 0
    hidden = ~found if found.dtype == bool else found <= NEVER
    real = PADDING.astype(bool)[:, None, None, :]
    try:
        seen, hidden = (np.broadcast_to(part, (batch, seen.shape[1], length, length)) for part in (seen, hidden))
    except (ValueError, IndexError):
        return False
    return bool((seen == real).all() and (hidden == ~real).all())
