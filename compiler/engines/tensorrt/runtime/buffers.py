"""Memory, streams and recorded calls of CUDA, each owned by one object and given back once.

What belongs to a session is given back when the session closes, when nobody uses it any more, or when the process ends,
whichever comes first.
"""

from __future__ import annotations

import functools
import importlib
import weakref
from typing import Any, cast

import numpy as np

from compiler.errors import EngineError

OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


class Cuda:
    """The CUDA runtime for one device: `cuda("cudaMalloc", size)` calls it and raises what it reports.

    Args:
        device: the GPU's number.
        runtime: `cuda.bindings.runtime`, or a module with the same functions.
    """

    def __init__(self, device: int, runtime: Any = None) -> None:
        self.device = device
        self._runtime = runtime
        self._owned: weakref.WeakSet[Owned] = weakref.WeakSet()

    @functools.cached_property
    def names(self) -> Any:
        """The functions and enumerations. They are imported when they are first used."""
        return self._runtime or cast("Any", importlib.import_module("cuda.bindings.runtime"))

    def __call__(self, function: str, *arguments: Any) -> Any:
        """The function's result: nothing, or one value.

        Raises:
            EngineError: CUDA's own name for what went wrong.
        """
        error, *results = getattr(self.names, function)(*arguments)
        if int(error) == 0:
            return results[0] if results else None
        raise EngineError(
            f"CUDA failed on GPU {self.device}",
            found=f"{function} says {error.name}",
            action="free memory of the GPU, or use a smaller batch"
            if error.name == OUT_OF_MEMORY
            else "see nvidia-smi",
        )

    def use(self) -> None:
        """Make the device this thread's: a new thread begins with the first one."""
        self("cudaSetDevice", self.device)

    def own(self, owned: Owned) -> None:
        """Give it back in `close`, if it is still there."""
        self._owned.add(owned)

    def close(self) -> None:
        """Give everything back. Nothing may be running."""
        for owned in list(self._owned):
            owned.free()


class Owned:
    """Something of CUDA's, and the function that takes it back."""

    def __init__(self, cuda: Cuda, handle: Any, release: str) -> None:
        self._cuda = cuda
        self._release = weakref.finalize(self, _give_back, getattr(cuda.names, release), handle)
        cuda.own(self)

    def free(self) -> None:
        """Give it back; a second time does nothing."""
        self._release()


def _give_back(release: Any, handle: Any) -> None:
    release(handle)  # whatever it reports: the device may be gone, and there is nobody to tell


class Stream(Owned):
    """Work in order, apart from that of other streams.

    Attributes:
        handle: as CUDA takes it; `int(handle)` is what TensorRT takes.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.handle = cuda("cudaStreamCreateWithFlags", cuda.names.cudaStreamNonBlocking)
        super().__init__(cuda, self.handle, "cudaStreamDestroy")

    def wait(self) -> None:
        """Until everything in it is done. Raises EngineError for what failed meanwhile."""
        self._cuda("cudaStreamSynchronize", self.handle)


class DeviceBuffer(Owned):
    """`size` bytes on the device, of unknown content.

    Attributes:
        address: of the first byte, aligned to 256; there is one also where the size is 0.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = int(cuda("cudaMalloc", max(size, 1)))
        super().__init__(cuda, self.address, "cudaFree")

    def zero(self, stream: Stream) -> None:
        self._cuda("cudaMemsetAsync", self.address, 0, self.size, stream.handle)

    def write(self, array: np.ndarray, stream: Stream) -> None:
        """Copy a contiguous array here. It must stay as it is until the stream was waited for."""
        kind = self._cuda.names.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.address, array.ctypes.data, array.nbytes, kind, stream)

    def read(self, array: np.ndarray, stream: Stream) -> None:
        """Copy into a contiguous array, which is complete when the stream was waited for."""
        kind = self._cuda.names.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(array.ctypes.data, self.address, array.nbytes, kind, stream)

    def take(self, at: int, source: DeviceBuffer, of: int, size: int, stream: Stream) -> None:
        """Copy `size` bytes from another buffer's offset `of` to the offset `at`."""
        kind = self._cuda.names.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._copy(self.address + at, source.address + of, size, kind, stream)

    def _copy(self, target: int, source: int, size: int, kind: Any, stream: Stream) -> None:
        if size:
            self._cuda("cudaMemcpyAsync", target, source, size, kind, stream.handle)


class Reused:
    """Buffers by name, each kept as long as it is large enough, so that addresses stay the same."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._buffers: dict[str, DeviceBuffer] = {}

    def get(self, name: str, size: int) -> DeviceBuffer:
        """A buffer of at least `size` bytes. A smaller one of before is given back, when the device is done with it."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            if buffer is not None:
                buffer.free()
            self._buffers[name] = buffer = DeviceBuffer(self._cuda, size)
        return buffer
