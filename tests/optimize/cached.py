"""One attention with a cache as text, in the ways that its mask may be written."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from compiler.optimize.passes.base import Context
from compiler.records import CacheShape, Exported
from tests.optimize.graphs import exported

CONTEXT = 32

CAUSAL = "visible = LessOrEqual (columns, rows)"
WINDOW = """
    oldest = Sub (rows, window)
    recent = Greater (columns, oldest)
    past_only = LessOrEqual (columns, rows)
    visible = And (past_only, recent)"""
OFF_BY_ONE = "visible = Less (columns, rows)"

MODEL = """
<ir_version: 10, opset_import: ["" : 23]>
decoder (
    float[batch, sequence, 64] q, float[batch, sequence, 32] k, float[batch, sequence, 32] v,
    int64[batch, total_sequence] attention_mask, int64[batch, sequence] position_ids,
    float[batch, 2, past_sequence, 16] past_key, float[batch, 2, past_sequence, 16] past_value
) => (
    float[batch, sequence, 64] y,
    float[batch, 2, total_sequence, 16] present_key, float[batch, 2, total_sequence, 16] present_value
)
<
    int64[4] q_split = {{0, 0, 4, 16}}, int64[4] kv_split = {{0, 0, 2, 16}}, int64[3] merged = {{0, 0, 64}},
    int64 zero = {{0}}, int64 one = {{1}}, int64 window = {{5}}, int64[1] axis0 = {{0}}, int64[1] axis1 = {{1}},
    int64[1] axis2 = {{2}}, float[8] frequencies = {{1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01}}
>
{{
    q4 = Reshape (q, q_split)
    k4 = Reshape (k, kv_split)
    v4 = Reshape (v, kv_split)
    qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    kt = Transpose <perm = [0, 2, 1, 3]> (k4)
    vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    at = Unsqueeze (position_ids, axis2)
    atf = Cast <to = 1> (at)
    angles = Mul (atf, frequencies)
    cos = Cos (angles)
    sin = Sin (angles)
    qr = RotaryEmbedding <interleaved: int = {interleaved}> (qt, cos, sin)
    kr = RotaryEmbedding <interleaved: int = {interleaved}> (kt, cos, sin)
    present_key = Concat <axis = 2> (past_key, kr)
    present_value = Concat <axis = 2> (past_value, vt)
    past_shape = Shape <start = 2, end = 3> (past_key)
    past_length = Squeeze (past_shape)
    new_shape = Shape <start = 1, end = 2> (position_ids)
    new_length = Squeeze (new_shape)
    total = Add (past_length, new_length)
    new_range = Range (zero, new_length, one)
    absolute = Add (new_range, past_length)
    rows = Unsqueeze (absolute, axis1)
    all_range = Range (zero, total, one)
    columns = Unsqueeze (all_range, axis0)
    {visible}
    visible3 = Unsqueeze (visible, axis0)
    visible4 = Unsqueeze (visible3, axis0)
    real = Cast <to = 9> (attention_mask)
    real3 = Unsqueeze (real, axis1)
    real4 = Unsqueeze (real3, axis1)
    mask = And (visible4, real4)
    attended = Attention <scale = 0.35> (qr, present_key, present_value, mask)
    heads_last = Transpose <perm = [0, 2, 1, 3]> (attended)
    y = Reshape (heads_last, merged)
}}
"""

EXPORTED: Exported = exported(
    "decoder", context_length=CONTEXT, vocabulary=8, cache=CacheShape(layers=1, kv_heads=2, head_dim=16)
)
CACHED = Context(exported=EXPORTED, calibration=list)


def text(visible: str = CAUSAL, *, interleaved: bool = False) -> str:
    written = MODEL.format(visible=visible, interleaved=1)
    return written if interleaved else written.replace("<interleaved: int = 1> ", "")


def shaped(written: str) -> ir.Model:
    subject = ir.from_onnx_text(written)
    ShapeInferencePass()(subject)
    return subject


def model(visible: str = CAUSAL, *, interleaved: bool = False) -> ir.Model:
    return shaped(text(visible, interleaved=interleaved))
