"""Faults of quantization itself: codes, scales and zero points of a graph whose precision is narrow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from tests.planted import edits
from tests.planted.edits import change, pass_by
from tests.planted.fault import Fault
from tests.planted.stored import pack, unpack

LAYER, DECODER, T5 = "encoder.layer.1", "model.layers.1", "decoder.block.1"
GATE = f"{DECODER}.mlp.gate_proj.weight.packed.int4"


def bert(name: str, edit: edits.Edit) -> Fault:
    return Fault("bert", name, edit, precisions=("int8",))


def mistral(name: str, edit: edits.Edit) -> Fault:
    return Fault("mistral", name, edit, precisions=("int4",))


def t5(name: str, edit: edits.Edit) -> Fault:
    return Fault("t5", name, edit, precisions=("int8",))


def _first(array: np.ndarray) -> np.ndarray:
    """One scale for all columns: the first one's."""
    return np.full_like(array, array.reshape(-1)[0])


def _moved(array: np.ndarray) -> np.ndarray:
    return np.roll(array, 1, axis=0)


def _halves(codes: np.ndarray) -> np.ndarray:
    """The two codes of every byte change places."""
    return codes >> 4 | codes << 4


def _one_more(zeros: np.ndarray) -> np.ndarray:
    return pack(np.minimum(unpack(zeros) + 1, 15))[..., : zeros.shape[-1]]


def _scale_of_all(model: ir.Model) -> None:
    """Every token is multiplied back by the scale of the largest."""
    node = edits.find(model, "Mul", f"{LAYER}.intermediate.dense", nth=-1)
    scale = node.inputs[1]
    assert scale is not None
    node.replace_input_with(1, edits.new(model, scale, "ReduceMax", scale).outputs[0])


def _zero_point(by: Callable[[np.ndarray], np.ndarray]) -> edits.Edit:
    """Of the activations that products read; they are rounded with the right one."""

    def edit(model: ir.Model) -> None:
        node = edits.find(model, "MatMulIntegerToFloat", nth=-1)
        node.replace_input_with(4, edits.initializer(model, "planted.zero", by(np.array(128, np.uint8))))

    return edit


QUANTIZED: tuple[Fault, ...] = (
    bert("scales of columns moved by one", change(f"{LAYER}.intermediate.dense.weight.scale", _moved)),
    bert("one column's scale for all", change(f"{LAYER}.attention.self.value.weight.scale", _first)),
    bert("one token's scale for all", _scale_of_all),
    bert("range without its negative side", pass_by("Abs", module=f"{LAYER}.attention.self.query")),
    bert("zero point of a product off by one", _zero_point(lambda zero: zero - 1)),
    bert("smoothing on the side of the weights alone", pass_by("Mul", module=f"{LAYER}.output.dense")),
    bert("codes of 8 bits where 7 are meant", change(f"{LAYER}.output.dense.weight.int8", lambda x: x * 2)),
    mistral("both codes of a byte swapped", change(GATE, _halves)),
    mistral("zero points off by one", change(f"{GATE}.zeros", _one_more)),
    mistral("zero points in the middle", change(f"{GATE}.zeros", lambda x: np.full_like(x, 8))),
    mistral("scales of blocks moved by one", change(f"{GATE}.scales", _moved)),
    mistral("blocks of the way down swapped", change(f"{DECODER}.mlp.down_proj.weight.int8", lambda x: x[:, ::-1])),
    mistral("codes of 8 bits taken as signed", change("lm_head.weight.int8", lambda x: x ^ 128)),
    mistral("one block's scale for a table", change("embed_tokens.weight.int8.scales", _first)),
    t5("scales of columns moved by one", change(f"{T5}.layer.2.DenseReluDense.wo.weight.scale", _moved)),
    t5("one column's scale for all", change(f"{T5}.layer.1.EncDecAttention.q.weight.scale", _first)),
    t5("zero point of a product off by one", _zero_point(lambda zero: zero - 1)),
)
