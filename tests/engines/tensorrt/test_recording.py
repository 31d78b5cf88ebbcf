"""Recorded calls (CUDA graphs) of a plan's session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.records import Plan
from tests import models
from tests.engines.tensorrt import sessions
from tests.engines.tensorrt.encoders import SMALL, check
from tests.engines.tensorrt.fake_cuda import FakeCuda
from tests.engines.tensorrt.fakes import FakeRtx, FakeTensorRT, Graphs
from tests.engines.tensorrt.sessions import opened, write_plan

pytestmark = pytest.mark.usefixtures("gpu")


def test_calls_of_one_shape_are_recorded_and_replayed(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    session = opened(model, encoder, cuda, trt, cuda_graph=True)
    check(session, model, *[(1, 8)] * 5)
    assert cuda.launches == 3
    assert len(trt.calls) == 3  # twice for the answer, once for the recording
    check(session, model, (2, 8), (1, 8), (1, 8))
    assert cuda.launches == 3
    assert len(cuda.executables) == 1
    check(session, model, (1, 8))
    assert cuda.launches == 4
    assert cuda.graphs == {}


def test_each_profile_keeps_its_own_recorded_call(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    session = opened(model, encoder, cuda, cuda_graph=True)
    check(session, model, (8, 64), (1, 8), (8, 64), (1, 8), (8, 64), (1, 8))
    assert cuda.launches == 2
    session.close()
    assert cuda.executables == {}


def test_memory_that_grows_ends_a_recording(model: Path, encoder: Plan) -> None:
    """A recorded call holds addresses: with others it is made anew."""
    cuda = FakeCuda()
    session = opened(model, encoder, cuda, cuda_graph=True)
    check(session, model, (1, 8), (1, 8), (1, 8), (2, 16), (1, 8), (1, 8), (1, 8), (1, 8))
    assert cuda.launches == 1 + 2


def test_calls_are_not_recorded_unless_asked_for(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    check(opened(model, encoder, cuda), model, *[(1, 8)] * 4)
    assert cuda.launches == 0


def test_what_cannot_be_recorded_runs_all_the_same(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda(capturable=False)
    check(opened(model, encoder, cuda, cuda_graph=True), model, *[(1, 8)] * 4)
    assert cuda.launches == 0
    assert cuda.recording == cuda.graphs == {}


@pytest.mark.parametrize(("asked", "strategies"), [(True, [Graphs.WHOLE_GRAPH_CAPTURE]), (False, [])])
def test_rtx_records_by_itself(model: Path, asked: bool, strategies: list[Graphs]) -> None:
    plan = write_plan(model, models.encoder(model), [SMALL], flavor="tensorrt-rtx")
    cuda = FakeCuda()
    trt = FakeRtx(cuda)
    check(opened(model, plan, cuda, trt, cuda_graph=asked), model, *[(1, 8)] * 3)
    assert trt.graph_strategies == strategies
    assert cuda.launches == 0


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_shapes_that_depend_on_the_data(model: Path, cuda_graph: bool) -> None:
    plan = write_plan(model, sessions.nonzero(model), [SMALL])
    cuda = FakeCuda()
    session = opened(model, plan, cuda, cuda_graph=cuda_graph)
    random = np.random.default_rng(0)
    for shape in ((1, 2), (2, 16), (2, 3), (2, 3), (2, 3)):
        x = random.integers(0, 2, shape).astype(np.float32)
        found = session.run({"x": x})
        np.testing.assert_array_equal(found["where"], np.stack(np.nonzero(x)))
        np.testing.assert_array_equal(found["twice"], 2 * x)
    assert cuda.launches == 0
