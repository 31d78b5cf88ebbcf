"""Faults of encoders."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.planted import edits
from tests.planted.edits import attribute, both, change, copy, exchange, forget, pass_by, scalar, swap
from tests.planted.fault import Fault
from tests.planted.sessions import RowsMixed

LAYER = "encoder.layer.1"
SELF, MLP = f"{LAYER}.attention.self", f"{LAYER}.intermediate.dense"
HEAD = slice(0, 8)


def bert(name: str, edit: edits.Edit) -> Fault:
    return Fault("bert", name, edit)


def modern(name: str, edit: edits.Edit) -> Fault:
    return Fault("modernbert", name, edit)


def roberta(name: str, edit: edits.Edit) -> Fault:
    return Fault("roberta", name, edit)


def _one_padding_seen(model: ir.Model) -> None:
    """The mask is one token too long in every row."""
    mask = next(each for each in model.graph.inputs if each.name == "attention_mask")
    cast = edits.find(model, "Cast")
    whole = edits.new(model, mask, "Slice", mask, *map(np.array, ([0], [-1], [1])))
    first = edits.new(model, mask, "Slice", mask, *map(np.array, ([0], [1], [1])))
    model.graph.sort()
    moved = ir.node("Concat", [first.outputs[0], whole.outputs[0]], {"axis": 1})
    model.graph.insert_before(cast, moved)
    cast.replace_input_with(0, moved.outputs[0])


def _mask_of_first_row(model: ir.Model) -> None:
    """Every row of a batch is masked as its first."""
    mask = edits.find(model, "Cast").outputs[0]
    first = edits.new(model, mask, "Slice", mask, *map(np.array, ([0], [1], [0])))
    shape = edits.new(model, mask, "Shape", mask)
    graph = model.graph
    wide = ir.node("Expand", [first.outputs[0], shape.outputs[0]])
    graph.insert_after(first if graph.index(first) > graph.index(shape) else shape, wide)
    edits.reroute(model, mask, wide.outputs[0], but=[first, shape])


def _window_lost(model: ir.Model) -> None:
    """The layer with a window sees as far as the others."""
    everywhere = edits.find(model, "Attention", nth=0).inputs[3]
    edits.find(model, "Attention", nth=1).replace_input_with(3, everywhere)


def _packed(one: int, other: int) -> edits.Edit:
    """Two of the three parts of packed queries, keys and values change places."""
    parts = slice(32 * one, 32 * one + 32), slice(32 * other, 32 * other + 32)
    return change("layers.0.attn.Wqkv.weight", edits.columns_changed(*parts))


def _halves(model: ir.Model) -> None:
    """The gate is applied to itself: both halves of a gated unit change places."""
    split = edits.find(model, "Split")
    gated, other = split.outputs
    gelu, product = gated.uses()[0].node, other.uses()[0].node
    gelu.replace_input_with(0, other)
    product.replace_input_with(1, gated)


def _positions_by_column(model: ir.Model) -> None:
    """Positions are counted in columns, so that a text's own padding token moves those behind it."""
    edits.reroute(
        model,
        edits.find(model, "Not").outputs[0],
        edits.new(
            model,
            edits.find(model, "Not").outputs[0],
            "Or",
            *[edits.find(model, "Equal").outputs[0]] * 1,
            edits.find(model, "Not").outputs[0],
        ).outputs[0],
        but=[each.node for each in edits.find(model, "Not").outputs[0].uses() if each.node.op_type == "Or"],
    )


def _exchanged(count: int) -> np.ndarray:
    """Rows of two letters that English has often change places."""
    order = np.arange(count)
    order[[70, 71]] = 71, 70
    return order


def _residual(model: ir.Model) -> None:
    first = edits.find(model, "SkipLayerNormalization", "encoder.layer.0.output.LayerNorm")
    last = edits.find(model, "SkipLayerNormalization", f"{LAYER}.output.LayerNorm")
    last.replace_input_with(1, first.outputs[0])


def _no_residual(model: ir.Model) -> None:
    node = edits.find(model, "SkipLayerNormalization", "layers.1.mlp_norm")
    zero = edits.new(model, node.inputs[0], "Sub", node.inputs[0], node.inputs[0])
    model.graph.sort()
    node.replace_input_with(0, zero.outputs[0])


def _tanh_gelu(model: ir.Model) -> None:
    node = edits.find(model, "BiasGelu")
    other = ir.node("FastGelu", list(node.inputs), domain="com.microsoft")
    node.graph.insert_after(node, other)  # type: ignore[union-attr]
    edits.reroute(model, node.outputs[0], other.outputs[0])


def _other_row(table: np.ndarray) -> np.ndarray:
    table[150] = table[151]
    return table


ENCODER: tuple[Fault, ...] = (
    bert("a weight's lowest exponent bit", change(f"{MLP}.weight", edits.flipped_bit(3, 5, 23))),
    bert("a weight's highest mantissa bit", change(f"{MLP}.weight", edits.flipped_bit(3, 5, 22))),
    bert("bias of the query dropped", pass_by("Add", module=f"{SELF}.query")),
    bert("bias behind attention dropped", forget("SkipLayerNormalization", 4, f"{LAYER}.attention.output.LayerNorm")),
    bert("query and key swapped", exchange("MultiHeadAttention", 0, 1, SELF)),
    bert("key and value swapped", exchange("MultiHeadAttention", 1, 2, SELF)),
    bert("attention scale off by 2 %", attribute("MultiHeadAttention", "scale", lambda x: 1.02 * x, SELF)),
    bert("padding mask dropped in one layer", forget("MultiHeadAttention", 4, SELF)),
    bert("padding mask longer by one token", _one_padding_seen),
    bert("epsilon 1e-5 for 1e-12", attribute("SkipLayerNormalization", "epsilon", lambda _: 1e-5)),
    bert(
        "norms of a layer in the wrong order",
        swap(f"{LAYER}.attention.output.LayerNorm.weight", f"{LAYER}.output.LayerNorm.weight"),
    ),
    bert("norm without its bias", change(f"{LAYER}.output.LayerNorm.bias", np.zeros_like)),
    bert("residual from before attention", _residual),
    bert("one head silent", change(f"{LAYER}.attention.output.dense.weight", edits.zero_rows(HEAD))),
    bert("values of two heads swapped", change(f"{SELF}.value.weight", edits.columns_changed(HEAD, slice(8, 16)))),
    bert("GELU by tanh for the exact one", _tanh_gelu),
    bert("positions off by one", change("position_embeddings.weight", lambda table: np.roll(table, 1, axis=0))),
    bert("positions end at 100", change("position_embeddings.weight", edits.clamped_rows(100))),
    bert("token types dropped", change("token_type_embeddings.weight", edits.clamped_rows(0))),
    bert("token types swapped", change("token_type_embeddings.weight", lambda table: table[::-1])),
    bert("row of a token that English lacks", change("word_embeddings.weight", _other_row)),
    bert("two words' rows swapped", change("word_embeddings.weight", lambda table: table[_exchanged(len(table))])),
    bert("weights of layer 0 in layer 1", copy(f"{SELF}.key.weight", "encoder.layer.0.attention.self.key.weight")),
    bert("a square matrix transposed", change(f"{SELF}.value.weight", lambda matrix: matrix.T)),
    bert("a matrix rounded to float16", change(f"{MLP}.weight", edits.rounded_half)),
    bert("a matrix rounded to 8 bits", change(f"{MLP}.weight", edits.rounded_bytes)),
    Fault("bert", "rows of a batch in the wrong order", wrap=RowsMixed),
    modern("window off by one", scalar("LessOrEqual", 1, lambda x: x - 1)),
    modern("window lost", _window_lost),
    modern("rotary base of the other layers", copy("sliding_attention_inv_freq", "full_attention_inv_freq")),
    modern("rotary pairs interleaved", attribute("RotaryEmbedding", "interleaved", lambda _: 1, integer=True)),
    modern("rotary embedding of the key dropped", pass_by("RotaryEmbedding", nth=1)),
    modern("query and key swapped in packed weights", _packed(0, 1)),
    modern("halves of a gated unit swapped", _halves),
    modern("every row masked as the first", _mask_of_first_row),
    modern("a residual dropped", _no_residual),
    roberta("positions off by one", scalar("Add", 1, lambda x: x - 1, "roberta.embeddings")),
    roberta("answer from the second token", scalar("Gather", 1, lambda x: x + 1, "classifier")),
    roberta(
        "labels in the wrong order",
        both(
            change("classifier.out_proj.weight", lambda x: x[::-1]),
            change("classifier.out_proj.bias", lambda x: x[::-1]),
        ),
    ),
    roberta("tanh before the labels dropped", pass_by("Tanh")),
)
