"""Generation with a plan where something does not fit, or ends."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler.errors import ContextError, EngineError, InputError
from compiler.records import CacheShape, Plan, Tensor
from tests import models
from tests.engines.decoders import TOKENS
from tests.engines.tensorrt import sessions
from tests.engines.tensorrt.decodings import Both, column, pair
from tests.engines.tensorrt.fake_cuda import FakeCuda
from tests.engines.tensorrt.sessions import CAPACITY, PROMPT, STEP, aliases, cache, opened, write_plan

pytestmark = pytest.mark.usefixtures("gpu")


def test_a_step_beyond_the_capacity(tmp_path: Path) -> None:
    session = pair(tmp_path).plan
    decoding = session.decode(cache(), 1, 4)
    decoding.step(TOKENS[None, :4], np.array([4]))
    with pytest.raises(ContextError, match=r"5 tokens\n.*at most 4"):
        decoding.step(TOKENS[None, :1], np.array([5]))
    with pytest.raises(ContextError, match=rf"{CAPACITY + 1} tokens\n.*at most {CAPACITY}"):
        session.decode(cache(), 1, CAPACITY + 1)


@pytest.mark.parametrize("kind", ["plain", "recorded"])
def test_more_rows_than_a_profile_allows_take_turns(tmp_path: Path, kind: str) -> None:
    """All of them in one cache."""
    two = pair(tmp_path, kind)
    both = Both(two, 8)
    lengths = np.array([3, 2, 1, 3, 3, 2, 3, 1])
    both.step(TOKENS.reshape(8, 3), lengths.tolist())
    assert [shapes["input_ids"] for _, shapes in two.trt.calls] == [(5, 3), (3, 3)]
    for rows in (
        [7, 6, 5, 4, 3, 2, 1, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6],
        [14, 0, 7],
        [2, 1, 0, 1, 1, 1],
    ):
        both.select(*rows)
        lengths = lengths[rows] + 1
        both.step(column(*TOKENS[: len(rows)]), lengths.tolist())


def test_rows_that_cannot_be_addressed_alone_do_not(tmp_path: Path) -> None:
    constants = {"bias": np.zeros((6, models.HIDDEN), np.float32), "all": np.zeros(models.HIDDEN, np.float32)}
    decoding = pair(tmp_path, biased=True).plan.decode(cache(), 6, 8, constants)
    with pytest.raises(InputError, match=r"batch 6\n.*batch 1 to 5"):
        decoding.step(TOKENS[:18].reshape(6, 3), np.full(6, 3))
    growing = pair(tmp_path, "growing")
    with pytest.raises(InputError, match=r"batch 6\n.*batch 1 to 5"):
        growing.plan.decode(growing.cache, 6, 8).step(TOKENS[:18].reshape(6, 3), np.full(6, 3))


def test_more_tokens_than_a_profile_allows(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    plan = write_plan(model, sessions.decoder(model), [STEP], aliases())
    decoding = opened(model, plan, FakeCuda()).decode(cache(), 1, 8)
    with pytest.raises(InputError, match=r"sequence 3\n.*sequence 1\n"):
        decoding.step(TOKENS[None, :3], np.array([3]))


def test_a_cache_of_any_capacity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="fixed capacity"):
        pair(tmp_path).plan.decode(CacheShape(**models.CACHE, layout="shared"), 1, 8)  # type: ignore[arg-type]


def test_without_a_cache_every_step_reads_all_again(tmp_path: Path) -> None:
    """The plan of an encoder that gives logits."""
    model = tmp_path / "model.onnx"
    given = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        sum (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask)
            => (float[batch, sequence, 1] logits)
        {
            real = Mul (input_ids, attention_mask)
            axis = Constant <value = int64 {1}> ()
            sums = CumSum (real, axis)
            numbers = Cast <to = 1> (sums)
            last = Constant <value = int64[1] {2}> ()
            logits = Unsqueeze (numbers, last)
        }
    """)
    onnx.save(given, model)
    ids = ("batch", "sequence")
    inputs = tuple(Tensor(name=name, dtype="int64", shape=ids) for name in ("input_ids", "attention_mask"))
    outputs = (Tensor(name="logits", dtype="float32", shape=(*ids, 1)),)
    plan = write_plan(model, (inputs, outputs), [{"batch": (1, 1, 2), "sequence": (1, 4, 8)}])
    none = CacheShape(layers=0, kv_heads=1, head_dim=1, layout="none")
    decoding = opened(model, plan, FakeCuda()).decode(none, 2, 8)
    assert decoding.step(np.array([[1, 2], [5, 0]]), np.array([2, 1])).tolist() == [[3], [5]]
    assert decoding.step(np.array([[4], [6]]), np.array([3, 2])).tolist() == [[7], [11]]


def test_a_plan_that_copies_its_cache_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    plan: Plan = write_plan(model, sessions.decoder(model), [STEP, PROMPT])
    with pytest.raises(EngineError, match=r"in place\n.*present\.0\.key over nothing"):
        opened(model, plan, FakeCuda()).decode(cache(), 1, 8)


def test_a_model_without_logits_cannot_generate(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    plan = write_plan(model, models.encoder(model), [STEP])
    with pytest.raises(EngineError, match="cannot generate"):
        opened(model, plan, FakeCuda()).decode(cache(), 1, 8)


def test_a_constant_that_the_graph_has_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown inputs"):
        pair(tmp_path).plan.decode(cache(), 1, 8, {"bias": np.zeros((1, 2), np.float32)})


def test_closing_ends_generations(tmp_path: Path) -> None:
    two = pair(tmp_path, "recorded")
    both = Both(two, 1)
    both.step(TOKENS[None, :4], [4])
    for length in (5, 6, 7):
        both.step(column(1), [length])
    two.plan.close()
    assert two.cuda.allocations == two.cuda.streams == two.cuda.executables == {}
    gc.collect()
    assert list(two.trt.alive) == []  # also what the generation still holds
    with pytest.raises(EngineError, match="was closed"):
        both.step(column(1), [8])


def test_a_generation_that_ends_gives_its_memory_back(tmp_path: Path) -> None:
    two = pair(tmp_path)
    before = len(two.cuda.allocations)
    both = Both(two, 2)
    both.step(TOKENS[:8].reshape(2, 4), [4, 4])
    both.select(1, 1, 0)
    del both
    gc.collect()
    assert len(two.cuda.allocations) == before
