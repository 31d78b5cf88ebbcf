"""The calls of CUDA: the fake has the functions of the real bindings, which answer here without a driver too."""

from __future__ import annotations

import gc
import inspect

import numpy as np
import pytest
from cuda.bindings import runtime

from compiler import driver
from compiler.engines.tensorrt.runtime.buffers import Cuda, DeviceBuffer, Reused, Stream
from compiler.engines.tensorrt.runtime.rows import Rows
from compiler.errors import EngineError
from tests.engines.tensorrt.fake_cuda import Error, FakeCuda, Kind, Mode

FUNCTIONS = [name for name in vars(FakeCuda) if name.startswith("cuda") and callable(getattr(FakeCuda, name))]
ENUMERATIONS = {Error: runtime.cudaError_t, Kind: runtime.cudaMemcpyKind, Mode: runtime.cudaStreamCaptureMode}


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {each.__name__ for each in ENUMERATIONS.values()}))
def test_the_real_function_takes_as_many_arguments(name: str) -> None:
    signature = (getattr(runtime, name).__doc__ or "").splitlines()[0]
    theirs = signature.removeprefix(f"{name}(").removesuffix(")").split(", ")
    assert len(inspect.signature(getattr(FakeCuda, name)).parameters) - 1 == len([each for each in theirs if each])


@pytest.mark.parametrize(("fake", "real"), ENUMERATIONS.items(), ids=lambda each: each.__name__)
def test_the_real_enumerations_have_the_same_members(fake: type, real: type) -> None:
    for member in fake:  # type: ignore[attr-defined]
        assert int(getattr(real, member.name)) == member
        assert getattr(real, member.name).name == member.name
    assert runtime.cudaStreamNonBlocking == FakeCuda.cudaStreamNonBlocking


@pytest.mark.skipif(bool(driver.devices()), reason="with a GPU these calls succeed")
def test_the_real_bindings_say_what_is_missing() -> None:
    with pytest.raises(EngineError, match=r"CUDA failed on GPU 0\n.*cuda\w+ says cudaError"):
        DeviceBuffer(Cuda(0), 16)


def test_bytes_come_back_when_the_stream_was_waited_for() -> None:
    cuda = Cuda(0, FakeCuda())
    stream, buffer = Stream(cuda), DeviceBuffer(cuda, 32)
    given, found = np.arange(4), np.zeros(4, np.int64)
    buffer.write(given, stream)
    buffer.read(found, stream)
    assert found.tolist() == [0] * 4
    stream.wait()
    assert found.tolist() == [0, 1, 2, 3]


def test_access_beyond_a_buffer_comes_up() -> None:
    cuda = Cuda(0, FakeCuda())
    stream, buffer = Stream(cuda), DeviceBuffer(cuda, 31)
    buffer.write(np.arange(4), stream)
    with pytest.raises(EngineError, match="cudaErrorIllegalAddress"):
        stream.wait()


def test_memory_is_given_back_once() -> None:
    fake = FakeCuda()
    cuda = Cuda(0, fake)
    buffer, empty = DeviceBuffer(cuda, 8), DeviceBuffer(cuda, 0)
    assert len(fake.allocations) == 2
    assert empty.address != buffer.address
    buffer.free()
    buffer.free()
    assert len(fake.allocations) == 1
    del empty
    gc.collect()
    assert fake.allocations == {}
    kept = DeviceBuffer(cuda, 8)
    cuda.close()
    kept.free()
    assert fake.allocations == {}


def test_reused_memory_keeps_its_address_while_it_is_large_enough() -> None:
    fake = FakeCuda()
    memory = Reused(Cuda(0, fake))
    first = memory.get("x", 16).address
    assert memory.get("x", 8).address == first
    assert memory.get("y", 8).address != first
    assert memory.get("x", 24).size == 24
    assert len(fake.allocations) == 2


@pytest.mark.parametrize("columns", [None, 0, 2, 5])
@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0, 1], [1, 1, 1], [2], [0, 2, 2, 1, 0], [1, 0]])
def test_rows_come_go_and_change_places(rows: list[int], columns: int | None) -> None:
    cuda = Cuda(0, FakeCuda())
    stream = Stream(cuda)
    held = Rows(cuda, stream, (3, 2, 5, 4), np.dtype(np.float32), spare=Reused(cuda))
    given = np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype(np.float32)
    held.write(given)
    held.select(np.array(rows), columns)
    assert held.shape == (len(rows), 2, 5, 4)
    found = np.empty(held.shape, np.float32)
    held._buffer.read(found, stream)
    stream.wait()
    np.testing.assert_array_equal(found[:, :, :columns], given[rows][:, :, :columns])
    assert np.isfinite(found).all()
