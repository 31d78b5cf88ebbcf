"""fuse-group-query-attention: the pattern, its near misses, and equal numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from compiler.optimize.passes.fuse_group_query_attention import FuseGroupQueryAttention
from tests.optimize.cached import CACHED, CAUSAL, OFF_BY_ONE, WINDOW, model, shaped, text


def apply(subject: ir.Model) -> bool:
    return FuseGroupQueryAttention().apply(subject, CACHED)


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
    return shaped(
        text()
        .replace(
            "angles = Mul (atf, frequencies)",
            "most = ReduceMax (atf)\n one_more = Add (most, one_float)\n"
            " angle = Mul (atf, frequencies)\n angles = Div (angle, one_more)",
        )
        .replace("int64 zero = {0}", "int64 zero = {0}, float one_float = {1.0}")
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
