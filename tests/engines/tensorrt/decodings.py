"""The same decoder twice: as a plan on a device that the host plays, and in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from compiler.engines import Decoding, Session
from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.engines.tensorrt.runtime.decoding import PlanDecoding
from compiler.engines.tensorrt.runtime.session import PlanSession
from compiler.records import CacheShape, EngineOptions
from tests import models
from tests.engines.decoders import cache as gqa_cache
from tests.engines.tensorrt import sessions
from tests.engines.tensorrt.fake_cuda import FakeCuda
from tests.engines.tensorrt.fakes import FakeTensorRT
from tests.engines.tensorrt.sessions import CAPACITY, PROMPT, STEP, aliases, cache, opened, write_plan

OPTIONS = EngineOptions(threads=1, spinning=False)
GROWING = {"batch": (1, 2, 5), "sequence": (1, 1, 24), "past_sequence": (0, 8, 48), "total_sequence": (1, 9, 72)}
KINDS = pytest.mark.parametrize("kind", ["plain", "recorded", "growing"])


class Pair(NamedTuple):
    """The same decoder twice."""

    plan: PlanSession
    reference: Session
    cuda: FakeCuda
    trt: FakeTensorRT
    cache: CacheShape


def pair(folder: Path, kind: str = "plain", dtype: str = "float32", *, biased: bool = False) -> Pair:
    """`kind`: a cache of fixed capacity, without or with recorded calls, or one that grows."""
    model = folder / "model.onnx"
    if kind == "growing":
        plan = write_plan(model, models.decoder(model, "concatenated"), [GROWING])
        shape = gqa_cache("concatenated")
    else:
        plan = write_plan(model, sessions.decoder(model, dtype, biased=biased), [STEP, PROMPT], aliases())
        shape = cache(dtype)
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    session = opened(model, plan, cuda, trt, cuda_graph=kind == "recorded")
    return Pair(session, OnnxRuntimeSession(model, OPTIONS), cuda, trt, shape)


class Both:
    """Two generations that do the same, and must give the same."""

    def __init__(self, two: Pair, batch: int, capacity: int = CAPACITY, **constants: np.ndarray) -> None:
        copies = {name: array.copy() for name, array in constants.items()}
        self.ours = two.plan.decode(two.cache, batch, capacity, constants)
        self._theirs: Decoding = two.reference.decode(two.cache, batch, capacity, copies)
        assert isinstance(self.ours, PlanDecoding)

    def step(self, tokens: np.ndarray, lengths: list[int]) -> np.ndarray:
        found = self.ours.step(tokens, np.array(lengths))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, self._theirs.step(tokens, np.array(lengths)))
        return found

    def select(self, *rows: int) -> None:
        self.ours.select(np.array(rows))
        self._theirs.select(np.array(rows))

    def truncate(self, length: int) -> None:
        self.ours.truncate(length)
        self._theirs.truncate(length)


def column(*tokens: int) -> np.ndarray:
    return np.array(tokens)[:, None]
