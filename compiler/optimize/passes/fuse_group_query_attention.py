"""Attention over a cache, with its rotary embedding, as one `com.microsoft.GroupQueryAttention` node.

ONNX Runtime's kernel appends to the cache in place when past and present are one buffer, and takes a length per row
instead of a mask. It also rotates queries and keys; a rotation that it does not know stays in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_ir as ir

from compiler.optimize.evaluate import evaluate, inputs_of
from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import MICROSOFT, dims, initializer, metadata, producer, remove_dead, replace
from compiler.optimize.passes.visibility import MASK, POSITIONS, rule

SWAP = [0, 2, 1, 3]
ROTARY_MULTIPLE = 16  # the kernel rotates heads, and parts of heads, of such sizes only


class Rotary(NamedTuple):
    cos: ir.Value
    sin: ir.Value


class Match(NamedTuple):
    """One attention with a cache: its new tokens as (batch, heads, sequence, head_dim), and what it replaces.

    `unrotated` are query and key before `rotary`.
    """

    node: ir.Node
    new: tuple[ir.Value, ir.Value, ir.Value]
    unrotated: tuple[ir.Value, ir.Value]
    past: tuple[ir.Value, ir.Value]
    present: tuple[ir.Value, ir.Value]
    rotary: Rotary | None
    output: ir.Value


@dataclass(frozen=True)
class FuseGroupQueryAttention(Pass):
    name: ClassVar[str] = "fuse-group-query-attention"

    def apply(self, model: ir.Model, context: Context) -> bool:
        matches = [match for node in list(model.graph) if (match := _match(node))]
        padded = any(value.name == MASK for value in model.graph.inputs)
        if not matches or not padded or context.exported.cache is None:
            return False
        windows: dict[int, int | None] = {}
        tables: dict[tuple[int, int], Rotary | None] = {}
        shared: dict[str, ir.Value] = {}
        modified = False
        for match in matches:
            mask = match.node.inputs[3]
            assert mask is not None
            if id(mask) not in windows:
                windows[id(mask)] = _window(model, mask, context)
            window = windows[id(mask)]
            if window is None:
                continue
            table = None
            if match.rotary is not None:
                key = (id(match.rotary.cos), id(match.rotary.sin))
                if key not in tables:
                    tables[key] = _tabulate(model, match.rotary, context, len(tables))
                table = tables[key]
            if not shared:
                shared = _lengths(model)
            _rewrite(model, match, table, window, shared)
            modified = True
        if modified:
            _drop_unused_positions(model)
            model.opset_imports.setdefault(MICROSOFT, 1)
        return modified


def _drop_unused_positions(model: ir.Model) -> None:
    """The kernel counts positions itself; the input goes with its last reader."""
    remove_dead([node for node in model.graph if all(not value.uses() for value in node.outputs)])
    for value in [value for value in model.graph.inputs if value.name == POSITIONS and not value.uses()]:
        model.graph.inputs.remove(value)


def _match(node: ir.Node) -> Match | None:
    if node.op_type != "Attention" or len(node.inputs) < 4 or node.inputs[3] is None or len(node.outputs) > 1:
        return None
    query, key, value = node.inputs[:3]
    if query is None or key is None or value is None:
        return None
    keys, values = _appended(key), _appended(value)
    after = _only_use(node.outputs[0], "Transpose")
    merged = _only_use(after.outputs[0], "Reshape") if after is not None and _swaps(after) else None
    if keys is None or values is None or merged is None:
        return None
    new = (query, keys[1], values[1])
    if any(shape is None or isinstance(shape[1], str) for shape in map(dims, new)):
        return None
    (first, rotary), (second, other) = _unrotated(query), _unrotated(keys[1])
    if rotary != other:
        rotary = None
    return Match(node, new, (first, second), (keys[0], values[0]), (key, value), rotary, merged.outputs[0])


def _appended(value: ir.Value) -> tuple[ir.Value, ir.Value] | None:
    """Past and new part of a cache tensor: Concat(graph input, new) along the length, itself a graph output."""
    node = producer(value, "Concat")
    if node is None or len(node.inputs) != 2 or not value.is_graph_output():
        return None
    past, new = node.inputs
    if past is None or new is None or not past.is_graph_input() or node.attributes["axis"].as_int() not in (-2, 2):
        return None
    return past, new


def _unrotated(value: ir.Value) -> tuple[ir.Value, Rotary | None]:
    node = producer(value, "RotaryEmbedding")
    if node is None:
        return value, None
    source, cos, sin = node.inputs[:3]
    if source is None or cos is None or sin is None or "interleaved" in node.attributes or len(node.inputs) > 3:
        return value, None
    return source, Rotary(cos, sin)


def _swaps(node: ir.Node) -> bool:
    return tuple(node.attributes["perm"].as_ints()) == tuple(SWAP)


def _only_use(value: ir.Value, op_type: str) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and uses[0].node.op_type == op_type else None


def _window(model: ir.Model, mask: ir.Value, context: Context) -> int | None:
    """What the mask computes: -1 causal, n causal within the last n keys, None anything else."""
    found = rule(model, mask, context)
    return None if found is None or found.added else found.window or -1


def _tabulate(model: ir.Model, rotary: Rotary, context: Context, index: int) -> Rotary | None:
    """Cos and sin for every position up to the context length, as initializers (positions, rotary_dim / 2).

    None when they depend on more than the position, checked by comparing a shuffled subset, or when the kernel does
    not rotate heads of this size.
    """
    assert context.exported.cache is not None
    width = dims(rotary.cos)
    if width is None or isinstance(width[-1], str) or inputs_of(rotary) != {POSITIONS}:
        return None
    if context.exported.cache.head_dim % ROTARY_MULTIPLE or 2 * width[-1] % ROTARY_MULTIPLE:
        return None
    length = context.exported.context_length
    every = np.arange(length, dtype=np.int64)[None]
    some = np.random.default_rng(0).permutation(length // 2)[:64][None].astype(np.int64)
    tables = [array[0] for array in evaluate(model, rotary, {POSITIONS: every})]
    parts = [array[0] for array in evaluate(model, rotary, {POSITIONS: some})]
    if any(not np.array_equal(table[some[0]], part) for table, part in zip(tables, parts, strict=True)):
        return None
    cos, sin = (np.ascontiguousarray(table) for table in tables)
    return Rotary(initializer(model, f"rotary_cos_{index}", cos), initializer(model, f"rotary_sin_{index}", sin))


def _lengths(model: ir.Model) -> dict[str, ir.Value]:
    """Per row the index of its last token, and the mask's width, both int32: what the kernel takes for a mask."""
    mask = next(value for value in model.graph.inputs if value.name == MASK)

    one = initializer(model, "lengths_one", np.array(1, np.int64))
    axis = initializer(model, "lengths_axis", np.array([1], np.int64))
    count = ir.node("ReduceSum", [mask, axis], {"keepdims": 0})
    last = ir.node("Sub", [count.outputs[0], one])
    last32 = ir.node("Cast", [last.outputs[0]], {"to": int(ir.DataType.INT32)})
    shape = ir.node("Shape", [mask], {"start": 1, "end": 2})
    width = ir.node("Squeeze", [shape.outputs[0]])
    width32 = ir.node("Cast", [width.outputs[0]], {"to": int(ir.DataType.INT32)})
    nodes = [count, last, last32, shape, width, width32]
    model.graph.insert_before(model.graph[0], nodes)
    return {"last": last32.outputs[0], "width": width32.outputs[0]}


def _rewrite(model: ir.Model, match: Match, table: Rotary | None, window: int, shared: dict[str, ir.Value]) -> None:
    node = match.node
    tokens = match.new if table is None else (*match.unrotated, match.new[2])
    flat = [_flatten(model, tensor, node) for tensor in tokens]
    attributes: dict[str, int | float] = {"num_heads": _heads(match.new[0]), "kv_num_heads": _heads(match.new[1])}
    for name in ("scale", "softcap"):
        if name in node.attributes:
            attributes[name] = node.attributes[name].as_float()
    if window > 0:
        attributes["local_window_size"] = window
    inputs: list[ir.Value | None] = [*flat, *match.past, shared["last"], shared["width"]]
    if table is not None:
        attributes["do_rotary"] = 1
        inputs += [table.cos, table.sin]
    fused = ir.node(
        "GroupQueryAttention", inputs, attributes, domain=MICROSOFT, num_outputs=3, metadata_props=metadata(node)
    )
    merged = match.output.producer()
    assert merged is not None
    replace(merged, [fused], [match.output, *match.present], list(fused.outputs))


def _heads(value: ir.Value) -> int:
    shape = dims(value)
    assert shape is not None
    return int(shape[1])


def _flatten(model: ir.Model, value: ir.Value, before: ir.Node) -> ir.Value:
    """(batch, heads, sequence, head_dim) -> (batch, sequence, heads * head_dim), undoing what split it if possible."""
    swap = producer(value, "Transpose")
    split = producer(swap.inputs[0], "Reshape") if swap is not None and _swaps(swap) else None
    source = split.inputs[0] if split is not None else None
    if source is not None and source.shape is not None and len(source.shape) == 3:
        return source
    info = metadata(before)
    shape = initializer(model, f"{value.name}.flat_shape", np.array([0, 0, -1], np.int64))
    turned = ir.node("Transpose", [value], {"perm": SWAP}, metadata_props=info)
    merged = ir.node("Reshape", [turned.outputs[0], shape], metadata_props=info)
    model.graph.insert_before(before, [turned, merged])
    return merged.outputs[0]
