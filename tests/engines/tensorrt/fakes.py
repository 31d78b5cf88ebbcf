"""TensorRT's runtime without a GPU: an ONNX graph, computed by ONNX Runtime in the memory of `FakeCuda`.

It is as strict as TensorRT: shapes must be within the profile, every tensor needs an address, an output that is written
over an input must have that input's.
"""

from __future__ import annotations

import json
import weakref
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.engines.tensorrt.fake_cuda import ALIGNMENT, GARBAGE, FakeCuda

Profiles = Sequence[Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]]
NUMPY = {"float": "float32", "float16": "float16", "int64": "int64"}
NAMES = {"float32": "FLOAT", "float16": "HALF", "int64": "INT64"}
SCRATCH = 5000
WEIGHTS = 1 << 20


class Strategy(Enum):
    STATIC, USER_MANAGED = range(2)


class Graphs(Enum):
    DISABLED, WHOLE_GRAPH_CAPTURE = range(2)


class Location(Enum):
    DEVICE, HOST = range(2)


def serialized(model: Path, profiles: Profiles, aliases: Mapping[str, str] | None = None, **flags: object) -> bytes:
    """A plan as the fake reads it. Flags: `stripped` (no weights), `wanted` (weights to put back), `on_host` (the first
    input lies there)."""
    content = b"" if flags.get("stripped") else model.read_bytes()
    return json.dumps(
        {"model": b64encode(content).decode(), "profiles": profiles, "aliases": aliases or {}, **flags}
    ).encode()


class Runtime:
    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        trt.runtimes += 1
        self._trt = trt
        self.logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        self._trt.host_code_allowed = self.engine_host_code_allowed
        try:
            return Engine(self._trt, json.loads(content))
        except ValueError:
            severity = Enum("Severity", ["ERROR"]).ERROR
            self.logger.log(severity, "magic tag: assertion failed")
            return None


class Engine:
    def __init__(self, trt: FakeTensorRT, plan: dict[str, Any]) -> None:
        self.trt, self.plan = trt, plan
        trt.alive.add(self)
        self.contexts = 0
        self.device_memory_size_v2 = SCRATCH
        self.num_optimization_profiles = len(plan["profiles"])
        self._budget = WEIGHTS
        self.native: Any = None
        if plan["model"]:
            self.read(b64decode(plan["model"]))

    def read(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self.native = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = {each.name: each.shape for each in self.native.get_inputs()}
        self.outputs = {each.name: each.shape for each in self.native.get_outputs()}
        tensors = (*self.native.get_inputs(), *self.native.get_outputs())
        self.dtypes = {each.name: np.dtype(NUMPY[each.type[7:-1]]) for each in tensors}
        self.num_io_tensors = len(tensors)

    @property
    def weight_streaming_budget_v2(self) -> int:
        return self._budget

    @weight_streaming_budget_v2.setter
    def weight_streaming_budget_v2(self, budget: int) -> None:
        assert not self.contexts, "it cannot change while there are contexts"
        self._budget = self.trt.budget = budget

    def get_weight_streaming_automatic_budget(self) -> int:
        return WEIGHTS // 2

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_dtype(self, name: str) -> Any:
        return Enum("DataType", list(NAMES.values()))[NAMES[self.dtypes[name].name]]

    def get_tensor_location(self, name: str) -> Location:
        return Location.HOST if self.plan.get("on_host") and name in list(self.inputs)[:1] else Location.DEVICE

    def get_aliased_input_tensor(self, name: str) -> str | None:
        found: str | None = self.plan["aliases"].get(name)
        return found

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, strategy: Any = Strategy.STATIC) -> Context:
        if isinstance(strategy, RuntimeConfig):
            self.trt.graph_strategies.append(strategy.cuda_graph_strategy)
            strategy = strategy.strategy
        assert strategy is Strategy.USER_MANAGED
        self.contexts += 1
        return Context(self)


class RuntimeConfig:
    cuda_graph_strategy = Graphs.DISABLED
    strategy = Strategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
        self.strategy = strategy


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._cuda = engine, engine.trt.cuda
        engine.trt.alive.add(self)
        self._profile: int | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._scratch = (0, 0)

    def set_device_memory(self, address: int, size: int) -> None:
        self._scratch = (address, size)

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream in self._cuda.streams
        self._profile = profile
        return profile < self._engine.num_optimization_profiles

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        assert self._profile is not None
        low, _, high = self._engine.plan["profiles"][self._profile][name]
        fits = all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True))
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine.inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._engine.inputs:
            return self._shapes[name]
        sizes = {
            dim: size
            for tensor, shape in self._shapes.items()
            for dim, size in zip(self._engine.inputs[tensor], shape, strict=True)
        }
        return tuple(dim if isinstance(dim, int) else sizes.get(dim, -1) for dim in self._engine.outputs[name])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._engine.dtypes and address > 0 and address % ALIGNMENT == 0

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self._allocators[name] = allocator
        return name in self._engine.outputs

    def execute_async_v3(self, stream: int) -> bool:
        engine, shapes, addresses, scratch = self._engine, dict(self._shapes), dict(self._addresses), self._scratch
        engine.trt.calls.append((self._profile, shapes))
        unplaced = [name for name in engine.dtypes if name not in addresses and name not in self._allocators]
        apart = [out for out, past in engine.plan["aliases"].items() if addresses.get(out) != addresses.get(past)]
        if unplaced or apart or scratch[1] < SCRATCH or self.infer_shapes():
            return False

        def compute() -> dict[str, np.ndarray]:
            self._cuda.at(*scratch).fill(GARBAGE)
            feeds = {name: self._tensor(name, addresses[name], shape).copy() for name, shape in shapes.items()}
            return dict(zip(engine.outputs, engine.native.run(None, feeds), strict=True))

        def work() -> None:
            for name, array in compute().items():
                self._tensor(name, addresses[name], array.shape)[...] = array

        if not self._allocators:
            self._cuda.add(stream, work)
            return True
        self._cuda.flush(stream)  # the shapes depend on the data, which must be there
        for name, array in compute().items():
            if allocator := self._allocators.get(name):
                addresses[name] = allocator.reallocate_output_async(name, 0, array.nbytes, 256, stream)
                allocator.notify_shape(name, array.shape)
                if not addresses[name]:
                    return False
            self._tensor(name, addresses[name], array.shape)[...] = array
        return True

    def _tensor(self, name: str, address: int, shape: tuple[int, ...]) -> np.ndarray:
        dtype = self._engine.dtypes[name]
        return self._cuda.at(address, int(np.prod(shape)) * dtype.itemsize).view(dtype).reshape(shape)


class Refitter:
    def __init__(self, engine: Engine, logger: Any) -> None:
        self.engine = engine
        self.missing: list[str] = []

    def get_missing_weights(self) -> list[str]:
        return self.missing

    def refit_cuda_engine(self) -> bool:
        return self.engine.native is not None


class OnnxParserRefitter:
    num_errors = 0

    def __init__(self, refitter: Refitter, logger: Any) -> None:
        self._refitter = refitter

    def refit_from_file(self, model: str) -> bool:
        self._refitter.engine.read(Path(model).read_bytes())
        there = {weight.name for weight in onnx.load(model).graph.initializer}
        self._refitter.missing = [name for name in self._refitter.engine.plan.get("wanted", []) if name not in there]
        return True


class FakeTensorRT:
    """The module. It keeps what the tests ask for: runtimes, calls (profile, shapes), what is alive, ..."""

    class ILogger:
        pass

    class IOutputAllocator:
        pass

    ExecutionContextAllocationStrategy = Strategy
    TensorLocation = Location
    Refitter = Refitter
    OnnxParserRefitter = OnnxParserRefitter

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.runtimes = 0
        self.calls: list[tuple[int | None, dict[str, tuple[int, ...]]]] = []
        self.host_code_allowed: bool | None = None
        self.budget: int | None = None
        self.graph_strategies: list[Graphs] = []
        self.alive: weakref.WeakSet[Engine | Context] = weakref.WeakSet()

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802
        return Runtime(self, logger)


class FakeRtx(FakeTensorRT):
    CudaGraphStrategy = Graphs
