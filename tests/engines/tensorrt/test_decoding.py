"""Generation with a plan, on a device that the host plays: the same answers as ONNX Runtime's on the same graph."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.errors import InputError
from tests import models
from tests.engines.decoders import TOKENS
from tests.engines.decoders import cache as gqa_cache
from tests.engines.tensorrt.decodings import KINDS, OPTIONS, Both, column, pair
from tests.engines.tensorrt.sessions import CAPACITY, aliases, cache

pytestmark = pytest.mark.usefixtures("gpu")


def test_the_test_model_is_that_of_the_other_engine(tmp_path: Path) -> None:
    """Its logits are those of GroupQueryAttention with the same weights."""
    models.decoder(tmp_path / "gqa.onnx", "shared")
    other = OnnxRuntimeSession(tmp_path / "gqa.onnx", OPTIONS).decode(gqa_cache("shared"), 1, CAPACITY)
    ours = pair(tmp_path).plan.decode(cache(), 1, CAPACITY)
    for start, end in [(0, 8), (8, 9), (9, 10), (10, 20)]:
        given = TOKENS[None, start:end], np.array([end])
        np.testing.assert_allclose(ours.step(*given), other.step(*given), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("plain", "float32"),
        ("recorded", "float32"),
        ("plain", "float16"),
        ("recorded", "float16"),
        ("growing", "float32"),
    ],
)
def test_greedy_tokens_and_logits(tmp_path: Path, kind: str, dtype: str) -> None:
    both = Both(pair(tmp_path, kind, dtype), 1)
    logits = both.step(TOKENS[None, :6], [6])
    for length in range(7, CAPACITY + 1):
        logits = both.step(logits.argmax(-1)[:, None], [length])


@KINDS
def test_rows_of_unequal_length(tmp_path: Path, kind: str) -> None:
    both = Both(pair(tmp_path, kind), 3)
    lengths = np.array([3, 7, 5])
    both.step(np.where(np.arange(7) < lengths[:, None], TOKENS[:21].reshape(3, 7), 0), lengths.tolist())
    for step in range(6):
        lengths = lengths + np.array([1, 0, 1])  # the second row has finished
        both.step(column(*TOKENS[3 * step : 3 * step + 3]), lengths.tolist())


@KINDS
def test_rows_left_out_repeated_and_reordered(tmp_path: Path, kind: str) -> None:
    both = Both(pair(tmp_path, kind), 3)
    lengths = np.array([3, 7, 5])
    both.step(np.where(np.arange(7) < lengths[:, None], TOKENS[:21].reshape(3, 7), 0), lengths.tolist())
    for rows in ([2, 0, 0, 2, 1], [1, 0, 3, 4, 3], [0, 1, 2, 3, 4], [4, 0], [1, 1], [0, 1], [1, 0, 1], [2]):
        both.select(*rows)
        lengths = lengths[rows] + 1
        both.step(column(*TOKENS[: len(rows)]), lengths.tolist())


def test_rows_change_places_without_the_host(tmp_path: Path) -> None:
    """Addresses stay too, so that a recorded step is good again."""
    two = pair(tmp_path, "recorded")
    both = Both(two, 3)
    both.step(TOKENS[:12].reshape(3, 4), [4, 4, 4])
    for length in range(5, 8):
        both.step(column(1, 2, 3), [length] * 3)
    for length, rows in enumerate([[2, 0, 1], [1, 1, 0], [0, 2, 2]], 8):
        launches = two.cuda.launches
        both.select(*rows)
        both.step(column(4, 5, 6), [length] * 3)
        assert two.cuda.launches == launches + 1


@KINDS
def test_a_row_goes_on_from_any_earlier_length(tmp_path: Path, kind: str) -> None:
    both = Both(pair(tmp_path, kind), 2)
    both.step(np.stack([TOKENS[:8], TOKENS[8:16]]), [5, 8])
    both.select(0)
    for length, new in [(5, TOKENS[20:24]), (7, TOKENS[3:4]), (8, TOKENS[:2]), (2, TOKENS[9:15]), (0, TOKENS[5:9])]:
        both.truncate(length)
        both.step(new[None], [length + new.size])


@KINDS
def test_a_row_that_had_finished_goes_on_and_is_cut(tmp_path: Path, kind: str) -> None:
    """Where the cache grows, padding lies between the row's tokens."""
    both = Both(pair(tmp_path, kind), 2)
    both.step(TOKENS[:16].reshape(2, 8), [5, 8])
    for length in (9, 10):
        both.step(column(1, 2), [5, length])
    both.select(0)
    both.step(TOKENS[None, 16:19], [8])
    both.truncate(7)
    both.step(TOKENS[None, 2:4], [9])
    both.truncate(6)
    both.step(column(7), [7])


def test_truncating_what_is_not_there(tmp_path: Path) -> None:
    session = pair(tmp_path).plan
    decoding = session.decode(cache(), 1, 8)
    decoding.step(TOKENS[None, :4], np.array([4]))
    with pytest.raises(InputError, match=r"5\n.*0 to 4"):
        decoding.truncate(5)
    with pytest.raises(InputError, match="single row"):
        session.decode(cache(), 2, 8).truncate(0)


def test_constants_are_uploaded_once_and_follow_their_rows(tmp_path: Path) -> None:
    two = pair(tmp_path, biased=True)
    random = np.random.default_rng(0)
    bias = random.normal(size=(3, models.HIDDEN)).astype(np.float32)
    both = Both(two, 3, bias=bias, all=random.normal(size=models.HIDDEN).astype(np.float32))
    both.step(TOKENS[:12].reshape(3, 4), [4] * 3)
    bias[...] = 0  # it was copied
    for length, rows in enumerate([[0, 1, 2], [0, 0, 1, 2, 2], [1, 0, 2, 4, 3], [4, 2, 0], [2, 1, 0], [1]], 5):
        both.select(*rows)
        both.step(column(*TOKENS[: len(rows)]), [length] * len(rows))


def test_each_step_takes_its_profile(tmp_path: Path) -> None:
    two = pair(tmp_path)
    both = Both(two, 2)
    both.step(TOKENS[:8].reshape(2, 4), [4, 4])
    both.step(column(1, 2), [5, 5])
    both.step(column(1, 2), [6, 6])
    assert [profile for profile, _ in two.trt.calls] == [1, 0, 0]


def test_steps_are_replayed(tmp_path: Path) -> None:
    two = pair(tmp_path, "recorded")
    both = Both(two, 2)
    both.step(TOKENS[:8].reshape(2, 4), [4, 4])
    for length in range(5, 15):
        both.step(column(length, length + 1), [length] * 2)
    assert two.cuda.launches == 8
    assert len(two.trt.calls) == 1 + 3


def test_generations_and_calls_do_not_disturb_each_other(tmp_path: Path) -> None:
    two = pair(tmp_path, "recorded")
    several = [Both(two, batch) for batch in (1, 2, 1)]
    for both, batch in zip(several, (1, 2, 1), strict=True):
        both.step(TOKENS[: 4 * batch].reshape(batch, 4), [4] * batch)
    given = {
        "input_ids": TOKENS[None, :5],
        "position_ids": np.arange(5)[None],
        "logits_positions": np.array([[4]]),
        **{name: np.zeros((1, 1, CAPACITY, models.HEAD_DIM), np.float32) for name in aliases().values()},
    }
    for length in range(5, 10):
        for both, batch in zip(several, (1, 2, 1), strict=True):
            both.step(column(*TOKENS[length : length + batch]), [length] * batch)
        found, expected = two.plan.run(given), two.reference.run(given)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def test_an_ended_generation_leaves_its_contexts_to_the_next(tmp_path: Path) -> None:
    two = pair(tmp_path)
    held = []
    for _ in range(3):
        both = Both(two, 1)
        both.step(TOKENS[None, :4], [4])
        both.step(column(1), [5])
        held.append(len(two.cuda.allocations))
        del both
        gc.collect()
    assert held == held[:1] * 3
    assert sum(map(len, two.plan._runner._idle.values())) == 2
