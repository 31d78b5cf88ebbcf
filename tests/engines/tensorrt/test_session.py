"""A plan's session on a TensorRT and a CUDA that are played by the host: loading, profiles, memory, recorded calls."""

from __future__ import annotations

import gc
import hashlib
import threading
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest
import tensorrt_rtx

from compiler import driver
from compiler.engines.tensorrt.api import TensorRT
from compiler.engines.tensorrt.runtime.buffers import Cuda, Reused
from compiler.engines.tensorrt.runtime.execution import native_allocator
from compiler.errors import EngineError, EngineUnavailableError, InputError, IntegrityError
from compiler.records import Plan, Shapes, Tensor
from tests import models
from tests.engines.tensorrt.encoders import SMALL, check, feeds
from tests.engines.tensorrt.fake_cuda import FakeCuda
from tests.engines.tensorrt.fakes import SCRATCH, WEIGHTS, FakeTensorRT
from tests.engines.tensorrt.sessions import opened, write_plan

pytestmark = pytest.mark.usefixtures("gpu")


def test_it_answers_as_the_model_does(model: Path, encoder: Plan) -> None:
    check(opened(model, encoder, FakeCuda()), model, (1, 8), (2, 3), (8, 64), (1, 1), (2, 16), (1, 8))


def test_a_call_takes_the_profile_that_is_nearest(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    session = opened(model, encoder, cuda, trt)
    check(session, model, (1, 8), (2, 16), (1, 17), (3, 1), (2, 9), (1, 16))
    assert [profile for profile, _ in trt.calls] == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("size", "found", "expected"),
    [
        ((1, 65), "sequence 65", "sequence 1 to 16; or sequence 1 to 64"),
        ((9, 65), "batch 9, sequence 65", "batch 1 to 2, sequence 1 to 16; or batch 1 to 8, sequence 1 to 64"),
        ((0, 8), "batch 0", "batch 1 to 2; or batch 1 to 8"),
    ],
)
def test_a_size_that_no_profile_allows(
    model: Path, encoder: Plan, size: tuple[int, int], found: str, expected: str
) -> None:
    session = opened(model, encoder, FakeCuda())
    with pytest.raises(InputError) as error:
        session.run(feeds(*size))
    assert (error.value.found, error.value.expected) == (found, expected)
    check(session, model, (1, 8))


def test_rows_beyond_the_largest_batch_are_read_in_parts(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    check(opened(model, encoder, cuda, trt), model, (20, 8))
    assert [shapes["input_ids"] for _, shapes in trt.calls] == [(8, 8), (8, 8), (4, 8)]


def test_what_only_two_profiles_together_would_allow(model: Path) -> None:
    short: Shapes = {"batch": (2, 4, 8), "sequence": (1, 8, 16)}
    long: Shapes = {"batch": (1, 1, 1), "sequence": (1, 32, 64)}
    plan = write_plan(model, models.encoder(model), [short, long])
    session = opened(model, plan, FakeCuda())
    check(session, model, (2, 64))
    with pytest.raises(InputError, match=r"found: +sequence 65\n.*sequence 1 to 16; or sequence 1 to 64"):
        session.run(feeds(2, 65))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": np.zeros((1, 2), np.int32)}, r"input_ids.*\n.*int32\n.*int64"),
        ({"input_ids": np.zeros(2, np.int64)}, r"1 dims: \(2,\)\n.*2 dims"),
        ({"pixels": np.zeros((1, 2), np.int64)}, r"unknown inputs\n.*pixels"),
    ],
)
def test_other_inputs_than_the_plans(model: Path, encoder: Plan, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(model, encoder, FakeCuda()).run(feeds(1, 2) | change)


def test_a_missing_input(model: Path, encoder: Plan) -> None:
    given = feeds(1, 2)
    del given["token_type_ids"]
    with pytest.raises(InputError, match=r"has other inputs\n.*input_ids, attention_mask\n"):
        opened(model, encoder, FakeCuda()).run(given)


def test_a_changed_plan_is_not_read(model: Path, encoder: Plan) -> None:
    path = model.parent / encoder.file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    with pytest.raises(IntegrityError, match="not the plan that was built"):
        opened(model, encoder, cuda, trt)
    assert trt.runtimes == 0
    assert cuda.allocations == cuda.streams == {}


def test_without_a_driver_nothing_of_tensorrt_is_touched(
    model: Path, encoder: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "devices", lambda: ())
    monkeypatch.setattr(driver, "why_none", lambda: "no NVIDIA driver here")
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    with pytest.raises(EngineUnavailableError, match="no NVIDIA driver here"):
        opened(model, encoder, cuda, trt)
    assert trt.runtimes == 0


def test_a_plan_that_tensorrt_refuses(model: Path, encoder: Plan) -> None:
    content = b"not a plan"
    (model.parent / encoder.file).write_bytes(content)
    plan = msgspec.structs.replace(encoder, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    with pytest.raises(EngineError, match=r"tensorrt 11\.4\.0\.106 cannot load this plan\n.*magic tag"):
        opened(model, plan, FakeCuda())


def test_a_plan_that_is_not_what_its_record_says(model: Path, encoder: Plan) -> None:
    narrow = tuple(msgspec.structs.replace(tensor, dtype="float16") for tensor in encoder.outputs)
    with pytest.raises(EngineError, match=r"last_hidden_state float32; 2 prof.*\n.*last_hidden_state float16; 2 prof"):
        opened(model, msgspec.structs.replace(encoder, outputs=narrow), FakeCuda())
    with pytest.raises(EngineError, match=r"; 2 profiles\n.*; 1 profiles"):
        opened(model, msgspec.structs.replace(encoder, shapes=encoder.shapes[:1]), FakeCuda())


def test_a_tensor_on_the_host_is_refused(model: Path) -> None:
    plan = write_plan(model, models.encoder(model), [SMALL], on_host=True)
    with pytest.raises(EngineError, match="input_ids lie on the host"):
        opened(model, plan, FakeCuda())


def test_a_tensor_that_numpy_cannot_hold(model: Path, encoder: Plan) -> None:
    wide = (*encoder.inputs, Tensor(name="x", dtype="bfloat16", shape=(1,)))
    plan = msgspec.structs.replace(encoder, inputs=wide)
    with pytest.raises(EngineError, match="cannot load this plan"):
        opened(model, plan, FakeCuda())


@pytest.mark.parametrize(("flags", "allowed"), [((), False), (("TF32", "VERSION_COMPATIBLE"), True)])
def test_code_of_the_host_runs_only_from_version_compatible_plans(
    model: Path, flags: tuple[str, ...], allowed: bool
) -> None:
    plan = write_plan(model, models.encoder(model), [SMALL], flags=flags)
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    opened(model, plan, cuda, trt)
    assert trt.host_code_allowed is allowed


def test_streamed_weights_get_a_budget_before_there_is_a_context(model: Path) -> None:
    plan = write_plan(model, models.encoder(model), [SMALL], flags=("WEIGHT_STREAMING",))
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    session = opened(model, plan, cuda, trt, cuda_graph=True)
    check(session, model, *[(1, 8)] * 4)
    assert trt.budget == WEIGHTS // 2
    assert cuda.launches == 0


def test_a_stripped_plan_gets_its_weights_from_the_model(model: Path) -> None:
    plan = write_plan(model, models.encoder(model), [SMALL], stripped=True)
    check(opened(model, plan, FakeCuda()), model, (1, 8), (2, 3))


def test_a_stripped_plan_and_another_model(model: Path) -> None:
    plan = write_plan(model, models.encoder(model), [SMALL], stripped=True)
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    with pytest.raises(IntegrityError, match=r"not the model that plans/sm89\.plan was built from"):
        opened(model, plan, cuda, trt)
    assert trt.runtimes == 0


def test_a_stripped_plan_that_misses_weights(model: Path) -> None:
    plan = write_plan(model, models.encoder(model), [SMALL], stripped=True, wanted=["w0", "lost"])
    with pytest.raises(EngineError, match="no weights for lost"):
        opened(model, plan, FakeCuda())


def test_threads_take_turns(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    session = opened(model, encoder, cuda, device=1)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            check(session, model, *[(1 + (number + step) % 8, 1 + (5 * number + step) % 64) for step in range(6)])
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {each.device for each in cuda.allocations.values()} == {1}


def test_all_contexts_share_one_scratch(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    session = opened(model, encoder, cuda)
    check(session, model, (1, 8), (8, 64))
    assert [each.memory.size for each in cuda.allocations.values()].count(SCRATCH) == 1


def test_closing_gives_everything_back(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    session = opened(model, encoder, cuda, cuda_graph=True)
    check(session, model, *[(1, 8)] * 3, (8, 64))
    session.close()
    assert cuda.allocations == cuda.streams == cuda.executables == {}
    session.close()
    with pytest.raises(EngineError, match="was closed"):
        session.run(feeds(1, 8))


def test_a_session_that_nobody_holds_gives_everything_back(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    session = opened(model, encoder, cuda, cuda_graph=True)
    check(session, model, *[(1, 8)] * 3)
    del session
    gc.collect()
    assert cuda.allocations == cuda.streams == cuda.executables == {}


def test_a_full_gpu_is_named(model: Path, encoder: Plan) -> None:
    session = opened(model, encoder, FakeCuda(limit=SCRATCH + 200))
    with pytest.raises(EngineError, match=r"GPU 0\n.*cudaMalloc says cudaErrorMemoryAllocation\n.*free memory"):
        session.run(feeds(2, 16))


def test_a_fault_on_the_device_comes_up(model: Path, encoder: Plan) -> None:
    cuda = FakeCuda()
    session = opened(model, encoder, cuda)
    check(session, model, (1, 8))
    scratch = next(address for address, each in cuda.allocations.items() if each.memory.size == SCRATCH)
    kept = cuda.allocations.pop(scratch)
    with pytest.raises(EngineError, match="cudaStreamSynchronize says cudaErrorIllegalAddress"):
        session.run(feeds(1, 8))
    cuda.allocations[scratch] = kept


def test_the_allocator_is_one_of_tensorrts_own() -> None:
    """The real base class takes our methods, and is called without a GPU."""
    fake = FakeCuda()
    allocator = native_allocator(cast("TensorRT", tensorrt_rtx), Reused(Cuda(0, fake)))
    assert isinstance(allocator, tensorrt_rtx.IOutputAllocator)
    first = allocator.reallocate_output_async("x", 0, 64, 256, 0)
    assert first in fake.allocations
    assert allocator.reallocate_output_async("x", first, 1 << 40, 256, 0) == 0
    allocator.notify_shape("x", tensorrt_rtx.Dims([2, 3]))
    assert allocator.shapes == {"x": (2, 3)}
