"""`cuda.bindings.runtime` without a GPU: the same functions over the host's memory, as late and as strict as CUDA.

Work is done when its stream is waited for, not before. Memory is garbage until something writes it, every access is
checked against what was allocated, and an error comes up where the stream is waited for.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

GARBAGE = 0xFF  # as float32 and float16 not a number, as int64 -1
ALIGNMENT = 256
Work = Callable[[], None]


class Error(IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorInvalidValue = 1  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInvalidResourceHandle = 400  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


class Kind(IntEnum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815
    cudaMemcpyDeviceToDevice = 3  # noqa: N815


class Mode(IntEnum):
    cudaStreamCaptureModeRelaxed = 2  # noqa: N815


class BadAddressError(Exception):
    pass


class Allocation(NamedTuple):
    memory: np.ndarray
    device: int


class FakeCuda:
    """Attributes: `limit`, bytes that the device has; `launches`, graphs that were replayed."""

    cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode = Error, Kind, Mode  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815

    def __init__(self, limit: int = 1 << 30, *, capturable: bool = True) -> None:
        self.limit, self.capturable = limit, capturable
        self.launches = 0
        self.allocations: dict[int, Allocation] = {}
        self.streams: dict[int, list[Work]] = {}
        self.recording: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self._thread = threading.local()
        self._numbers = iter(range(1, 1 << 20))
        self._error = Error.cudaSuccess
        self._last = Error.cudaSuccess

    @property
    def device(self) -> int:
        return getattr(self._thread, "device", 0)

    def at(self, address: int, size: int) -> np.ndarray:
        """The bytes there, uint8. Raises BadAddressError unless one allocation holds all of them."""
        for start, (memory, _) in self.allocations.items():
            if start <= address and address + size <= start + memory.size:
                return memory[address - start : address - start + size]
        raise BadAddressError(f"{size} bytes at {address}")

    def add(self, stream: int, work: Work) -> None:
        """What a kernel's launch does: later, in order; or into the graph that is being recorded."""
        self.recording.get(stream, self.streams[stream]).append(work)

    def flush(self, stream: int) -> None:
        queue = self.streams[stream]
        while queue:
            try:
                queue.pop(0)()
            except BadAddressError:
                self._error = Error.cudaErrorIllegalAddress
                queue.clear()

    # The functions of the CUDA runtime.

    def cudaSetDevice(self, device: int) -> tuple[Error]:  # noqa: N802
        self._thread.device = device
        return (Error.cudaSuccess,)

    def cudaGetLastError(self) -> tuple[Error]:  # noqa: N802
        last, self._last = self._last, Error.cudaSuccess
        return (last,)

    def cudaMalloc(self, size: int) -> tuple[Error, int]:  # noqa: N802
        assert size > 0
        if sum(each.memory.size for each in self.allocations.values()) + size > self.limit:
            return Error.cudaErrorMemoryAllocation, 0
        memory = np.full(size + ALIGNMENT, GARBAGE, np.uint8)
        begin = -memory.ctypes.data % ALIGNMENT
        memory = memory[begin : begin + size]
        self.allocations[memory.ctypes.data] = Allocation(memory, self.device)
        return Error.cudaSuccess, memory.ctypes.data

    def cudaFree(self, address: int) -> tuple[Error]:  # noqa: N802
        for stream in self.streams:  # it waits for the device
            self.flush(stream)
        if self.allocations.pop(address, None) is None:
            raise AssertionError("freed twice, or never allocated")
        return (Error.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Error, int]:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        stream = next(self._numbers)
        self.streams[stream] = []
        return Error.cudaSuccess, stream

    def cudaStreamDestroy(self, stream: int) -> tuple[Error]:  # noqa: N802
        self.flush(stream)
        del self.streams[stream]
        return (Error.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Error]:  # noqa: N802
        if stream in self.recording:
            return (Error.cudaErrorStreamCaptureUnsupported,)
        self.flush(stream)
        return (self._error,)

    def cudaMemsetAsync(self, address: int, value: int, size: int, stream: int) -> tuple[Error]:  # noqa: N802
        self.add(stream, lambda: self.at(address, size).fill(value))
        return (Error.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Kind, stream: int) -> tuple[Error]:  # noqa: N802
        return self.cudaMemcpy2DAsync(target, size, source, size, size, 1, kind, stream)

    def cudaMemcpy2DAsync(  # noqa: N802, PLR0917
        self, target: int, to_pitch: int, source: int, from_pitch: int, width: int, height: int, kind: Kind, stream: int
    ) -> tuple[Error]:
        if width > min(to_pitch, from_pitch) or stream not in self.streams:
            return (Error.cudaErrorInvalidValue,)

        def copy() -> None:
            for line in range(height):
                to, of = target + line * to_pitch, source + line * from_pitch
                if kind != Kind.cudaMemcpyDeviceToHost:
                    self.at(to, width)
                if kind != Kind.cudaMemcpyHostToDevice:
                    self.at(of, width)
                ctypes.memmove(to, of, width)

        self.add(stream, copy)
        return (Error.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: Mode) -> tuple[Error]:  # noqa: N802
        self.recording[stream] = []
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Error, Any]:  # noqa: N802
        recorded = self.recording.pop(stream)
        if not self.capturable:
            self._last = Error.cudaErrorStreamCaptureInvalidated
            return Error.cudaErrorStreamCaptureInvalidated, None
        number = next(self._numbers)
        self.graphs[number] = recorded
        return Error.cudaSuccess, number

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Error, int]:  # noqa: N802
        number = next(self._numbers)
        self.executables[number] = list(self.graphs[graph])
        return Error.cudaSuccess, number

    def cudaGraphDestroy(self, graph: int) -> tuple[Error]:  # noqa: N802
        del self.graphs[graph]
        return (Error.cudaSuccess,)

    def cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Error]:  # noqa: N802
        self.launches += 1
        for work in self.executables[executable]:
            self.add(stream, work)
        return (Error.cudaSuccess,)

    def cudaGraphExecDestroy(self, executable: int) -> tuple[Error]:  # noqa: N802
        for stream in self.streams:
            self.flush(stream)
        del self.executables[executable]
        return (Error.cudaSuccess,)
