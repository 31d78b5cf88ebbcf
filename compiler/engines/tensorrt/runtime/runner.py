"""An engine on its device: the stream, the scratch memory and the contexts that its callers take turns with."""

from __future__ import annotations

import math
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from compiler.engines.plans.selection import BATCH
from compiler.engines.tensorrt import objects
from compiler.engines.tensorrt.runtime.buffers import Cuda, DeviceBuffer, Stream
from compiler.engines.tensorrt.runtime.execution import Execution
from compiler.engines.tensorrt.runtime.loading import Loaded
from compiler.errors import EngineError, InputError
from compiler.records import EngineOptions, Tensor

STREAMED = "WEIGHT_STREAMING"


class Typed(NamedTuple):
    """A graph's input or output. `by_row`: its first dim is the batch."""

    name: str
    dtype: np.dtype
    by_row: bool

    def nbytes(self, shape: Sequence[int]) -> int:
        return math.prod(shape) * self.dtype.itemsize


class Runner:
    """What a session and its generations share. One of them at a time has the turn, in whatever thread.

    Attributes:
        inputs, outputs: of the graph, by name.
        aliases: of every output that is written over an input, that input's name.
    """

    def __init__(self, loaded: Loaded, cuda: Cuda, options: EngineOptions) -> None:
        self.loaded, self.cuda = loaded, cuda
        self.plan = loaded.plan
        self.inputs = _typed(self.plan.inputs)
        self.outputs = _typed(self.plan.outputs)
        self.aliases = _aliases(loaded.engine, self.outputs)
        self.stream = Stream(cuda)
        self._scratch = DeviceBuffer(cuda, loaded.engine.device_memory_size_v2)
        self._record = options.cuda_graph and STREAMED not in self.plan.flags
        self._lock = threading.RLock()
        self._all: weakref.WeakSet[Execution] = weakref.WeakSet()
        self._idle: defaultdict[int, list[Execution]] = defaultdict(list)
        self._closed = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else uses the engine meanwhile. Raises EngineError where it is closed."""
        with self._lock:
            if self._closed:
                raise EngineError(f"{self.plan.file}: this plan was closed", action="load the model again")
            self.cuda.use()
            yield

    def lend(self, profile: int) -> Execution:
        """A context at this profile, for one caller to keep until it hands it to `take_back`."""
        try:
            return self._idle[profile].pop()
        except IndexError:
            made = Execution(self.loaded, profile, self.cuda, self.stream, self._scratch, record=self._record)
            self._all.add(made)
            return made

    def take_back(self, executions: dict[int, Execution]) -> None:
        """Contexts by their profiles, for the next callers. May be called from anywhere, also without the turn."""
        for profile, execution in executions.items():
            self._idle[profile].append(execution)

    def close(self) -> None:
        """Give everything back, that of generations that still go on as well. Calls that are running finish first."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.cuda.use()
            try:
                self.stream.wait()
            finally:
                self._idle.clear()
                for execution in list(self._all):
                    execution.close()
                self.cuda.close()
                del self.loaded  # the engine goes with the last reference to it


def _aliases(engine: objects.ICudaEngine, outputs: Iterable[str]) -> dict[str, str]:
    if not hasattr(engine, "get_aliased_input_tensor"):
        return {}  # TensorRT before 10.15 writes nothing over an input
    named = {name: engine.get_aliased_input_tensor(name) for name in outputs}
    return {name: aliased for name, aliased in named.items() if aliased}


def _typed(tensors: Iterable[Tensor]) -> dict[str, Typed]:
    try:
        return {
            tensor.name: Typed(tensor.name, np.dtype(tensor.dtype), tensor.shape[:1] == (BATCH,)) for tensor in tensors
        }
    except TypeError as error:
        raise EngineError("a plan has an input or output that numpy cannot hold", found=str(error)) from error


def contiguous(typed: Typed, array: np.ndarray) -> np.ndarray:
    """The array, as it is copied to the device. Raises InputError where its dtype is another."""
    if array.dtype != typed.dtype:
        raise InputError(f'input "{typed.name}"', found=str(array.dtype), expected=str(typed.dtype))
    return np.ascontiguousarray(array)
