"""A call of an engine: shapes, addresses, and the work on the stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from compiler.engines.plans.selection import Shape, Shapes
from compiler.engines.tensorrt import objects
from compiler.engines.tensorrt.api import RtxTensorRT, TensorRT
from compiler.engines.tensorrt.runtime.buffers import Cuda, DeviceBuffer, Reused, Stream
from compiler.engines.tensorrt.runtime.graphs import Recording
from compiler.engines.tensorrt.runtime.loading import Loaded
from compiler.errors import EngineError

UNKNOWN = -1  # of a dim that depends on the data


class Execution:
    """An execution context at one optimization profile.

    All contexts of an engine work in the same scratch memory, so only one of them may run at a time.
    """

    def __init__(
        self, loaded: Loaded, profile: int, cuda: Cuda, stream: Stream, scratch: DeviceBuffer, *, record: bool
    ) -> None:
        self._stream = stream
        self._name = f"{loaded.plan.file}, profile {profile}"
        rtx = hasattr(loaded.trt, "CudaGraphStrategy")
        context = _context(loaded.trt, loaded.engine, record=record and rtx)
        if context is None:
            raise EngineError(f"{self._name}: no execution context", action="free memory of the GPU")
        self._context = context
        context.set_device_memory(scratch.address, scratch.size)
        self._set(context.set_optimization_profile_async(profile, int(stream.handle)), "the profile")
        stream.wait()
        self._recording = Recording(cuda, stream) if record and not rtx else None
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._outputs: dict[str, Shape] = {}

    def shape(self, shapes: Shapes, outputs: list[str]) -> Mapping[str, Shape]:
        """The shapes of these outputs for inputs of these shapes; -1 is a dim that depends on the data.

        Raises:
            EngineError: TensorRT refuses the shapes.
        """
        if shapes == self._shapes:
            return self._outputs
        known, self._shapes = self._shapes, {}
        for name, shape in shapes.items():
            if known.get(name) != shape:
                self._set(self._context.set_input_shape(name, shape), f"{shape} for {name}")
        if missing := self._context.infer_shapes():
            raise EngineError(f"{self._name}: the shapes of outputs are not known", found=f"without {missing}")
        self._shapes = dict(shapes)
        self._outputs = {name: tuple(self._context.get_tensor_shape(name)) for name in outputs}
        return self._outputs

    def allocate_with(self, name: str, allocator: Any) -> None:
        """Give an output, whose shape depends on the data, memory when it is known."""
        self._set(self._context.set_output_allocator(name, allocator), f"an allocator for {name}")

    def run(self, addresses: Mapping[str, int], *, record: bool = True) -> None:
        """Add a call to the stream, for the shapes that were given last.

        Args:
            addresses: of every input, and of every output without an allocator.
            record: whether it may be replayed: without allocators.

        Raises:
            EngineError: TensorRT refuses an address or the call.
        """
        for name, address in addresses.items():
            if self._addresses.get(name) != address:
                self._set(self._context.set_tensor_address(name, address), f"an address for {name}")
                self._addresses[name] = address
        if self._recording is None or not record:
            self._enqueue()
        else:
            self._recording.run((tuple(self._shapes.items()), tuple(self._addresses.items())), self._enqueue)

    def close(self) -> None:
        """Give the recorded call back, and the context."""
        if self._recording is not None:
            self._recording.forget()
        del self._context

    def _enqueue(self) -> None:
        self._set(self._context.execute_async_v3(int(self._stream.handle)), "the call")

    def _set(self, accepted: bool, what: str) -> None:
        if not accepted:
            raise EngineError(f"{self._name}: TensorRT refuses {what}")


def _context(trt: TensorRT, engine: objects.ICudaEngine, *, record: bool) -> objects.IExecutionContext | None:
    """A context whose scratch memory we give. RTX records calls itself where `record` is set."""
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if not record:
        return engine.create_execution_context(strategy)
    config = cast("objects.RtxRuntimeConfig", engine.create_runtime_config())
    config.set_execution_context_allocation_strategy(strategy)
    config.cuda_graph_strategy = cast("RtxTensorRT", trt).CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    return engine.create_execution_context(config)


def native_allocator(trt: TensorRT, memory: Reused) -> Any:
    """An `IOutputAllocator` that takes its memory from `memory`, and keeps in `shapes` the shapes that came out."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shapes: dict[str, Shape] = {}

        def reallocate_output_async(
            self, tensor_name: str, _memory: int, size: int, _alignment: int, _stream: int
        ) -> int:
            try:
                return memory.get(tensor_name, size).address
            except EngineError:
                return 0  # an exception may not cross TensorRT's own code; it refuses the call

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shapes[tensor_name] = tuple(shape)

    return Allocator()
