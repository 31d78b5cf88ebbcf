"""Faults of decoders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from compiler.engines import Feeds
from tests.planted import edits
from tests.planted.edits import attribute, change, copy, pass_by, swap
from tests.planted.fault import Fault
from tests.planted.sessions import BaseOnly, Equal, Late, OffByOne, Rows, Twice, Untruncated, Wrap, stepping

GROUPED = "GroupQueryAttention"
HEAD = slice(0, 8)
LAST = "model.layers.1"


def mistral(name: str, edit: edits.Edit) -> Fault:
    return Fault("mistral", name, edit)


def experts(name: str, edit: edits.Edit) -> Fault:
    return Fault("qwen3-moe", name, edit)


def gpt2(name: str, edit: edits.Edit) -> Fault:
    return Fault("gpt2", name, edit)


def llama(name: str, by: Callable[[str, np.ndarray], np.ndarray]) -> Fault:
    """Of the matrices of both adapters."""

    def matrices(adapters: dict[str, Feeds]) -> dict[str, Feeds]:
        return {
            each: {tensor: by(tensor, array) for tensor, array in found.items()} for each, found in adapters.items()
        }

    return Fault("llama", name, matrices=matrices)


def engine(name: str, wrap: Wrap, subject: str = "mistral") -> Fault:
    return Fault(subject, name, wrap=wrap)


def _earlier_token(model: ir.Model) -> None:
    """The answer is taken from the token before the last."""
    node = edits.find(model, "GatherND")
    positions = node.inputs[1]
    assert positions is not None
    before = edits.new(model, positions, "Sub", positions, np.array(1))
    model.graph.sort()
    floor = ir.node("Max", [before.outputs[0], edits.initializer(model, "planted.zero", np.array(0))])
    model.graph.insert_after(before, floor)
    node.replace_input_with(1, floor.outputs[0])


def _positions_again(model: ir.Model) -> None:
    """Positions begin again after 32 tokens."""
    positions = next(each for each in model.graph.inputs if each.name == "position_ids")
    edits.after(model, positions, "Mod", np.array(32))


def _gelu_for_silu(model: ir.Model) -> None:
    node = edits.find(model, "QuickGelu", nth=1)
    other = ir.node("Gelu", [node.inputs[0]])
    node.graph.insert_after(node, other)  # type: ignore[union-attr]
    edits.reroute(model, node.outputs[0], other.outputs[0])


def _one_column_less(model: ir.Model) -> None:
    """Attention does not see the newest token."""
    lengths = edits.find(model, GROUPED).inputs[5]
    assert lengths is not None
    less = edits.after(model, lengths, "Sub", np.array(1, np.int32))
    edits.after(model, less, "Max", np.array(0, np.int32))


def _half_values(model: ir.Model) -> None:
    """The cache holds values of half precision."""
    value = edits.find(model, GROUPED).inputs[2]
    assert value is not None
    narrow = edits.after(model, value, "Cast", to=10)
    edits.after(model, narrow, "Cast", to=1)


def _row(name: str, row: int) -> edits.Edit:
    """A row of a table is that of the next token."""

    def other(table: np.ndarray) -> np.ndarray:
        table[row] = table[row + 1]
        return table

    return change(name, other)


def _column(name: str, column: int) -> edits.Edit:
    def other(table: np.ndarray) -> np.ndarray:
        table[:, column] = table[:, column + 1]
        return table

    return change(name, other)


def _heads(model: ir.Model) -> None:
    """Query heads are grouped by turns, not in blocks."""
    order = np.arange(32).reshape(4, 8)[[0, 2, 1, 3]].ravel()
    packed = edits.weight(model, f"{LAST}.self_attn.q_proj.weight.packed")
    packed[:, :32] = packed[:, order]
    edits.put(model, f"{LAST}.self_attn.q_proj.weight.packed", packed)
    out = edits.weight(model, f"{LAST}.self_attn.o_proj.weight")
    edits.put(model, f"{LAST}.self_attn.o_proj.weight", out[order])


def _top_one(model: ir.Model) -> None:
    """Only the best expert answers: the weight of the second is lost."""
    top = edits.find(model, "TopK", nth=1)
    edits.after(model, top.outputs[0], "Mul", np.array([1.0, 0.0], np.float32))


def _shared_out(model: ir.Model) -> None:
    """The weights of the chosen experts are made to add up to 1, which this model does not do."""
    top = edits.find(model, "TopK", nth=1).outputs[0]
    total = edits.new(model, top, "ReduceSum", top, np.array([-1]))
    divided = ir.node("Div", [top, total.outputs[0]])
    model.graph.insert_after(total, divided)
    edits.reroute(model, top, divided.outputs[0], but=[total, divided])


def _experts(array: np.ndarray) -> np.ndarray:
    return array[[0, 2, 1, 3]]


def _other_layer(tensor: str, array: np.ndarray) -> np.ndarray:
    return array if ".layers.1." not in tensor or not tensor.endswith(".B") else np.roll(array, 1, axis=1)


def _crossed(adapters: dict[str, Feeds]) -> dict[str, Feeds]:
    """Each adapter's name stands for the other one."""
    return dict(zip(adapters, reversed(adapters.values()), strict=True))


def _tables(model: ir.Model) -> None:
    """Another base in the tables that the attention kernel reads."""
    positions, count = edits.weight(model, "rotary_cos_0").shape
    frequencies = 20_000.0 ** -(np.arange(count) / count)
    angles = np.outer(np.arange(positions), frequencies).astype(np.float32)
    edits.put(model, "rotary_cos_0", np.cos(angles))
    edits.put(model, "rotary_sin_0", np.sin(angles))


def _exact_gelu(model: ir.Model) -> None:
    if any(node.op_type == "Gelu" for node in model.graph):  # in quantized graphs the product has the bias
        del edits.find(model, "Gelu").attributes["approximate"]
        return
    node = edits.find(model, "FastGelu")
    other = ir.node("BiasGelu", list(node.inputs), domain="com.microsoft")
    node.graph.insert_after(node, other)  # type: ignore[union-attr]
    edits.reroute(model, node.outputs[0], other.outputs[0])


DECODER: tuple[Fault, ...] = (
    mistral("a weight's highest mantissa bit", change(f"{LAST}.mlp.down_proj.weight", edits.flipped_bit(3, 5, 22))),
    mistral("attention scale off by 2 %", attribute(GROUPED, "scale", lambda x: 1.02 * x, nth=1)),
    mistral("window off by one", attribute(GROUPED, "local_window_size", lambda x: x + 1, nth=1, integer=True)),
    mistral("window lost", attribute(GROUPED, "local_window_size", lambda _: -1, nth=1, integer=True)),
    mistral("epsilon 1e-5 for 1e-6", attribute("RMSNormalization", "epsilon", lambda _: 1e-5)),
    mistral("rotary base twice as large", change("inv_freq", lambda x: x * 2.0 ** -(np.arange(len(x)) / len(x)))),
    mistral("rotary pairs interleaved", attribute("RotaryEmbedding", "interleaved", lambda _: 1, integer=True)),
    mistral("rotary embedding of the key dropped", pass_by("RotaryEmbedding", nth=1)),
    mistral("one head silent", change(f"{LAST}.self_attn.o_proj.weight", edits.zero_rows(HEAD))),
    mistral("query heads grouped by turns", _heads),
    mistral(
        "keys of two heads swapped",
        change(f"{LAST}.self_attn.q_proj.weight.packed", edits.columns_changed(slice(32, 40), slice(40, 48))),
    ),
    mistral(
        "norms of a layer in the wrong order",
        swap(f"{LAST}.input_layernorm.weight", f"{LAST}.post_attention_layernorm.weight"),
    ),
    mistral("last norm's weights dropped", change("model.norm.weight", np.ones_like)),
    mistral("GELU for SiLU", _gelu_for_silu),
    mistral(
        "gate and up projection swapped",
        change(f"{LAST}.mlp.gate_proj.weight.packed", edits.columns_changed(slice(0, 64), slice(64, 128))),
    ),
    mistral("answer from the token before", _earlier_token),
    mistral("newest token not attended to", _one_column_less),
    mistral("positions begin again after 32", _positions_again),
    mistral("values cached in half precision", _half_values),
    mistral("a matrix rounded to 8 bits", change(f"{LAST}.mlp.down_proj.weight", edits.rounded_bytes)),
    mistral("row of a token that English lacks", _row("embed_tokens.weight", 150)),
    mistral("logit of a token that English lacks", _column("lm_head.weight", 200)),
    engine("cache off by one after 8 tokens", stepping(OffByOne)),
    engine("beams do not change places", stepping(Rows)),
    engine("what is to be forgotten stays in the cache", stepping(Untruncated)),
    engine("several tokens after the prompt read as the last", stepping(Twice)),
    engine("padding of shorter prompts read as tokens", stepping(Equal)),
    engine("answers one step late after 20", stepping(Late)),
    experts("two experts swapped", change(f"{LAST}.mlp.experts.down_proj", _experts)),
    experts(
        "one expert silent",
        change("model.layers.0.mlp.experts.down_proj", lambda x: x * np.array([1, 1, 0, 1])[:, None, None]),
    ),
    experts("one expert instead of two", _top_one),
    experts("weights of experts made to add up to 1", _shared_out),
    experts("norm of the query dropped", pass_by("RMSNormalization", module="layers.1.self_attn.q_norm")),
    experts("rotary base twice as large", _tables),
    gpt2("bias of the product before attention dropped", edits.unbiased("transformer.h.1.attn.c_attn")),
    gpt2(
        "query and key swapped in packed weights",
        change("transformer.h.1.attn.c_attn.weight", edits.columns_changed(slice(0, 32), slice(32, 64))),
    ),
    gpt2("positions off by one", change("wpe.weight", lambda table: np.roll(table, 1, axis=0))),
    gpt2("positions end at 100", change("wpe.weight", edits.clamped_rows(100))),
    gpt2("exact GELU for the one by tanh", _exact_gelu),
    gpt2("weights of layer 0 in layer 1", copy("transformer.h.1.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.weight")),
    gpt2(
        "biases of query, key and value in another order",
        change("transformer.h.0.attn.c_attn.bias", lambda x: np.roll(x, 32)),
    ),
    llama("LoRA scale off by 2 %", lambda name, x: x * np.float32(1.02) if name.endswith(".B") else x),
    llama("LoRA of one module dropped", lambda name, x: np.zeros_like(x) if "layers.1.self_attn.v_proj" in name else x),
    llama(
        "LoRA with its last rank dropped",
        lambda name, x: (
            np.where(np.arange(x.shape[-1]) < x.shape[-1] - 1, x, 0).astype(x.dtype) if name.endswith(".A") else x
        ),
    ),
    llama("LoRA's columns moved by one", _other_layer),
    Fault("llama", "adapters swapped", matrices=_crossed),
    engine("adapter dropped in generation", BaseOnly, "llama"),
)
