"""fuse-group-query-attention: the pattern, its near misses, and equal numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from compiler.optimize.passes.base import Context
from compiler.optimize.passes.fuse_group_query_attention import FuseGroupQueryAttention
from compiler.records import CacheShape, Exported, Source

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

EXPORTED = Exported(
    source=Source(kind="folder", location="x", digest="0"),
    task="text-generation",
    kind="decoder",
    architecture="X",
    model_type="x",
    model="model.onnx",
    opset=23,
    inputs=(),
    outputs=(),
    parameters=0,
    context_length=CONTEXT,
    vocabulary=8,
    seconds=0.0,
    versions={},
    cache=CacheShape(layers=1, kv_heads=2, head_dim=16),
)


def model(visible: str = CAUSAL, *, interleaved: bool = False) -> ir.Model:
    text = MODEL.format(visible=visible, interleaved=1)
    if not interleaved:
        text = text.replace("<interleaved: int = 1> ", "")
    return shaped(text)


def shaped(text: str) -> ir.Model:
    subject = ir.from_onnx_text(text)
    ShapeInferencePass()(subject)
    return subject


def apply(subject: ir.Model) -> bool:
    return FuseGroupQueryAttention().apply(subject, Context(exported=EXPORTED, calibration=list))


def operators(subject: ir.Model) -> list[str]:
    return [node.op_type for node in subject.graph]


def run(subject: ir.Model, past: int, sequence: int, lengths: tuple[int, ...]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    batch, total = len(lengths), past + sequence
    feeds = {
        name: random.standard_normal((batch, sequence, width)).astype(np.float32)
        for name, width in (("q", 64), ("k", 32), ("v", 32))
    }
    for name in ("past_key", "past_value"):
        feeds[name] = random.standard_normal((batch, 2, past, 16)).astype(np.float32)
    feeds["attention_mask"] = (np.arange(total) < np.array(lengths)[:, None]).astype(np.int64)
    feeds["position_ids"] = np.tile(np.arange(past, total, dtype=np.int64), (batch, 1))
    session = ort.InferenceSession(ir.to_proto(subject).SerializeToString())
    wanted = {value.name for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    answer = session.run(names, {name: array for name, array in feeds.items() if name in wanted})
    return dict(zip(names, answer, strict=True))


@pytest.mark.parametrize(("visible", "window"), [(CAUSAL, None), (WINDOW, 5)])
def test_rewrites_attention_with_its_cache_and_rotation(visible: str, window: int | None) -> None:
    subject = model(visible)
    assert apply(subject)
    assert "Attention" not in operators(subject)
    assert "RotaryEmbedding" not in operators(subject)
    (fused,) = [node for node in subject.graph if node.op_type == "GroupQueryAttention"]
    found = {name: attribute.value for name, attribute in fused.attributes.items()}
    assert (found["num_heads"], found["kv_num_heads"], found["do_rotary"]) == (4, 2, 1)
    assert found.get("local_window_size") == window
    assert "position_ids" not in [value.name for value in subject.graph.inputs]
    assert [value.name for value in subject.graph.outputs] == ["y", "present_key", "present_value"]


@pytest.mark.parametrize("visible", [CAUSAL, WINDOW])
@pytest.mark.parametrize(("past", "sequence", "lengths"), [(0, 9, (9, 4)), (7, 1, (8, 8)), (6, 3, (9,))])
def test_numbers_stay_equal(visible: str, past: int, sequence: int, lengths: tuple[int, ...]) -> None:
    expected = run(model(visible), past, sequence, lengths)
    subject = model(visible)
    assert apply(subject)
    found = run(subject, past, sequence, lengths)
    for row, length in enumerate(lengths):
        real = length - past
        np.testing.assert_allclose(found["y"][row, :real], expected["y"][row, :real], atol=1e-5)
        for name in ("present_key", "present_value"):
            np.testing.assert_allclose(found[name][row, :, :length], expected[name][row, :, :length], atol=1e-5)


def test_a_second_run_changes_nothing() -> None:
    subject = model()
    assert apply(subject)
    before = operators(subject)
    assert not apply(subject)
    assert operators(subject) == before


def test_leaves_a_mask_that_is_not_causal_alone() -> None:
    subject = model(OFF_BY_ONE)
    before = operators(subject)
    assert not apply(subject)
    assert operators(subject) == before


def rotated_by_more_than_the_position() -> ir.Model:
    text = MODEL.format(visible=CAUSAL, interleaved=1).replace("<interleaved: int = 1> ", "")
    return shaped(
        text.replace(
            "angles = Mul (atf, frequencies)",
            "most = ReduceMax (atf)\n one_more = Add (most, one_float)\n"
            " angle = Mul (atf, frequencies)\n angles = Div (angle, one_more)",
        ).replace("int64 zero = {0}", "int64 zero = {0}, float one_float = {1.0}")
    )


@pytest.mark.parametrize("make", [lambda: model(interleaved=True), rotated_by_more_than_the_position])
def test_a_rotation_that_the_kernel_does_not_know_stays_in_front(make: Callable[[], ir.Model]) -> None:
    expected = run(make(), 0, 8, (8, 6))
    subject = make()
    assert apply(subject)
    (fused,) = [node for node in subject.graph if node.op_type == "GroupQueryAttention"]
    assert "do_rotary" not in fused.attributes
    assert operators(subject).count("RotaryEmbedding") == 2
    assert "position_ids" in [value.name for value in subject.graph.inputs]
    found = run(subject, 0, 8, (8, 6))
    np.testing.assert_allclose(found["y"][0], expected["y"][0], atol=1e-5)
    np.testing.assert_allclose(found["y"][1, :6], expected["y"][1, :6], atol=1e-5)
    np.testing.assert_allclose(found["present_key"][0], expected["present_key"][0], atol=1e-5)
