"""Faults of encoder-decoders."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.planted import edits
from tests.planted.decoder import _earlier_token as earlier_token
from tests.planted.edits import attribute, change, copy, exchange, forget, pass_by, scalar, swap
from tests.planted.fault import Fault
from tests.planted.sessions import Late, OffByOne, Rows, TextsCut, TextsMixed, Unmasked, Wrap, stepping

BLOCK = "decoder.block.1"
HEAD = slice(0, 8)
BART = "model.decoder.layers.1"


def t5(name: str, edit: edits.Edit) -> Fault:
    return Fault("t5", name, edit)


def reading(name: str, edit: edits.Edit) -> Fault:
    """In T5's encoder."""
    return Fault("t5", name, edit, graph="encoder")


def bart(name: str, edit: edits.Edit) -> Fault:
    return Fault("bart", name, edit)


def engine(name: str, wrap: Wrap, subject: str = "bart") -> Fault:
    return Fault(subject, name, wrap=wrap)


def _future_seen(model: ir.Model) -> None:
    """The mask of the answer is gone; its relative positions stay."""
    where = edits.find(model, "Where", "SelfAttention", nth=1)
    edits.reroute(model, where.outputs[0], where.inputs[1])


def _past_forgotten(model: ir.Model) -> None:
    """Relative positions of a step are counted as if it were the first."""
    add = edits.find(model, "Add", "decoder.block.0.layer.0.SelfAttention")
    edits.reroute(model, add.outputs[0], add.inputs[0])


def _cross_of_other_layer(model: ir.Model) -> None:
    attention = [node for node in model.graph if node.op_type == "Attention"]
    attention[3].replace_input_with(1, attention[1].inputs[1])


def _positions_of_step(model: ir.Model) -> None:
    """Positions of the answer begin again with every step."""
    add = (
        next(n for n in model.graph if n.op_type == "Gather" and "embed_positions" in n.inputs[0].name)
        .inputs[1]
        .producer()
    )
    source = next(node for node in model.graph if node.op_type == "Range").outputs[0]
    wide = edits.new(model, source, "Unsqueeze", source, np.array([0]))
    add.replace_input_with(0, wide.outputs[0])
    model.graph.sort()


def _half(model: ir.Model) -> None:
    """Cross keys of half precision."""
    key = next(each for each in model.graph.inputs if each.name == "cross_key_values.1.key")
    narrow = edits.after(model, key, "Cast", to=10)
    edits.after(model, narrow, "Cast", to=1)


def _gelu(model: ir.Model) -> None:
    node = edits.find(model, "BiasGelu")
    other = ir.node("FastGelu", list(node.inputs), domain="com.microsoft")
    node.graph.insert_after(node, other)
    edits.reroute(model, node.outputs[0], other.outputs[0])


def _row(table: np.ndarray) -> np.ndarray:
    """A token's row is that of the next; quantized, the head has a column for each token."""
    tokens = table if len(table) > 151 else table.T
    tokens[150] = tokens[151]
    return table


def _unmasked_text(model: ir.Model) -> None:
    where = edits.find(model, "Where", "encoder.block.0.layer.0.SelfAttention", nth=1)
    edits.reroute(model, where.outputs[0], where.inputs[1])


def _no_residual(model: ir.Model) -> None:
    node = edits.find(model, "SkipSimplifiedLayerNormalization", "encoder.block.1.layer.1.layer_norm")
    zero = edits.new(model, node.inputs[0], "Sub", node.inputs[0], node.inputs[0])
    node.replace_input_with(0, zero.outputs[0])
    model.graph.sort()


ENCODER_DECODER: tuple[Fault, ...] = (
    t5(
        "a weight's highest mantissa bit",
        change(f"{BLOCK}.layer.2.DenseReluDense.wo.weight", edits.flipped_bit(3, 5, 22)),
    ),
    t5(
        "query and key swapped",
        swap(f"{BLOCK}.layer.0.SelfAttention.q.weight", f"{BLOCK}.layer.0.SelfAttention.k.weight"),
    ),
    t5("attention scale off by 2 %", attribute("Attention", "scale", lambda x: 1.02 * x, nth=2)),
    t5("scale of cross attention off by 2 %", attribute("Attention", "scale", lambda x: 1.02 * x, nth=3)),
    t5("mask of the answer dropped", _future_seen),
    t5("mask of cross attention dropped", forget("Attention", 3, nth=3)),
    t5("relative positions of a step counted from zero", _past_forgotten),
    t5(
        "relative positions measured in wider buckets",
        scalar("Div", 1, lambda x: 1.05 * x, "decoder.block.0.layer.0.SelfAttention", nth=1),
    ),
    t5(
        "a row of the relative positions wrong",
        change(
            "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            lambda x: x[[0, 1, 2, 3, 4, 5, 6, 6]],
        ),
    ),
    t5("epsilon 1e-5 for 1e-6", attribute("RMSNormalization", "epsilon", lambda _: 1e-5)),
    t5("one head silent", change(f"{BLOCK}.layer.0.SelfAttention.o.weight", edits.zero_rows(HEAD))),
    t5(
        "one head of cross attention silent", change(f"{BLOCK}.layer.1.EncDecAttention.o.weight", edits.zero_rows(HEAD))
    ),
    t5(
        "norms of a layer in the wrong order",
        swap(f"{BLOCK}.layer.0.layer_norm.weight", f"{BLOCK}.layer.2.layer_norm.weight"),
    ),
    t5("scale of tied embeddings dropped", pass_by("Mul", nth=-1)),
    t5("cross keys and values swapped", exchange("Attention", 1, 2, nth=3)),
    t5("cross keys of another layer", _cross_of_other_layer),
    t5("answer from the token before", earlier_token),
    t5("ReLU dropped", pass_by("Relu")),
    t5("a matrix rounded to 8 bits", change(f"{BLOCK}.layer.1.EncDecAttention.q.weight", edits.rounded_bytes)),
    t5("cross keys in half precision", _half),
    reading(
        "relative positions the same on both sides",
        scalar("Mul", 1, np.zeros_like, "encoder.block.0.layer.0.SelfAttention"),
    ),
    reading(
        "relative positions end one bucket early",
        scalar("Expand", 0, lambda x: x - 1, "encoder.block.0.layer.0.SelfAttention"),
    ),
    reading("mask of the text dropped", _unmasked_text),
    reading("last norm's weights dropped", change("encoder.final_layer_norm.weight", np.ones_like)),
    reading("a residual dropped", _no_residual),
    bart("bias of the query dropped", pass_by("Add", module=f"{BART}.self_attn.q_proj")),
    bart("bias in a fused norm dropped", forget("SkipLayerNormalization", 4, f"{BART}.final_layer_norm")),
    bart("positions off by one", scalar("Add", 1, lambda x: x - 1, "model.decoder.embed_positions")),
    bart("positions begin again with every step", _positions_of_step),
    Fault(
        "bart",
        "positions of the text end at 100",
        change("embed_positions.weight", edits.clamped_rows(102)),
        graph="encoder",
    ),
    bart("GELU by tanh for the exact one", _gelu),
    bart("weights of layer 0 in layer 1", copy(f"{BART}.fc1.weight", "model.decoder.layers.0.fc1.weight")),
    bart("norm without its bias", change(f"{BART}.final_layer_norm.bias", np.zeros_like)),
    bart(
        "bias of the logits off", change("final_logits_bias", lambda x: x + np.float32(1e-3) * (np.arange(x.size) % 2))
    ),
    bart("row of a token that English lacks", change("lm_head.weight", _row)),
    engine("cache off by one after 8 tokens", stepping(OffByOne)),
    engine("beams do not change places", stepping(Rows)),
    engine("answers one step late after 20", stepping(Late)),
    engine("texts of a batch mixed up", TextsMixed),
    engine("texts cut at 64 tokens", TextsCut),
    engine("padding of the shorter texts seen", Unmasked),
)
