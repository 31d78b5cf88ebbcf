"""CUDA graphs: one call of an execution context, recorded once and replayed while nothing but values changes.

A graph holds the shapes, the addresses and the context's own memory from when it was recorded. So each context has at
most one, and loses it when one of these changes.

TensorRT for RTX compiles kernels for new shapes while it runs, which would end in a graph that replays old ones; it
records by itself where its runtime configuration says so, and nothing here is used.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from compiler.engines.tensorrt.runtime.buffers import Cuda, Owned, Stream
from compiler.errors import EngineError


class Graph(Owned):
    """A recorded call that can be launched."""

    def __init__(self, cuda: Cuda, stream: Stream, call: Callable[[], None]) -> None:
        """Record `call`, which must only add work to the stream. Raises EngineError where that cannot be recorded."""
        self._stream = stream
        names = cuda.names
        # Relaxed: memory that another object gives back meanwhile does not spoil the recording.
        cuda("cudaStreamBeginCapture", stream.handle, names.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed)
        try:
            call()
        except EngineError:
            names.cudaStreamEndCapture(stream.handle)  # a stream must not stay in this mode
            names.cudaGetLastError()
            raise
        recorded = cuda("cudaStreamEndCapture", stream.handle)
        try:
            self._handle = cuda("cudaGraphInstantiate", recorded, 0)
        finally:
            names.cudaGraphDestroy(recorded)
        super().__init__(cuda, self._handle, "cudaGraphExecDestroy")

    def launch(self) -> None:
        self._cuda("cudaGraphLaunch", self._handle, self._stream.handle)


class Recording:
    """At most one recorded call.

    TensorRT asks for one ordinary call after shapes have changed before it is recorded. A call that comes only once is
    not worth it, so the second one like it is recorded, and from the third on it is replayed.
    """

    def __init__(self, cuda: Cuda, stream: Stream) -> None:
        self._cuda, self._stream = cuda, stream
        self._key: Hashable = None
        self._graph: Graph | None = None
        self._possible = True

    def run(self, key: Hashable, call: Callable[[], None]) -> None:
        """Do `call`, or replay it: equal keys promise that it would do the same with other values."""
        if key == self._key and self._graph is not None:
            self._graph.launch()
            return
        call()
        if key != self._key:
            self.forget()
            self._key = key
        elif self._possible:
            self._stream.wait()
            try:
                self._graph = Graph(self._cuda, self._stream, call)
            except EngineError:
                self._possible = False  # some calls cannot be recorded; they run all the same

    def forget(self) -> None:
        """Give the recorded call back."""
        if self._graph is not None:
            self._graph.free()
        self._graph, self._key = None, None
