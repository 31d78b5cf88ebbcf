"""Run a plan on the GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compiler.engines import Decoding, Feeds, Session
from compiler.engines.plans.selection import most_rows, profile_for
from compiler.engines.recompute import RecomputeDecoding
from compiler.engines.tensorrt.flavors import Flavor
from compiler.engines.tensorrt.runtime.buffers import Cuda, Reused
from compiler.engines.tensorrt.runtime.decoding import SharedPlanDecoding
from compiler.engines.tensorrt.runtime.execution import UNKNOWN, Execution, native_allocator
from compiler.engines.tensorrt.runtime.growing import GrowingPlanDecoding
from compiler.engines.tensorrt.runtime.loading import load
from compiler.engines.tensorrt.runtime.runner import Runner, contiguous
from compiler.errors import InputError
from compiler.records import CacheShape, EngineOptions, Plan


def open_plan(model: Path, plan: Plan, options: EngineOptions, flavor: Flavor, runtime: Any = None) -> Session:
    """Load a plan of this model, which lies relative to the model's folder.

    Args:
        runtime: `cuda.bindings.runtime`, or a module with the same functions.

    Raises:
        IntegrityError: the plan is not the file that was built; nothing has read it.
        EngineUnavailableError: there is no driver or no GPU.
        EngineError: it cannot be loaded.
    """
    cuda = Cuda(options.device, runtime)
    return PlanSession(Runner(load(model, plan, flavor, cuda), cuda, options))


class PlanSession:
    """A `Session` of compiler.engines. Calls from several threads take turns on one stream."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._executions: dict[int, Execution] = {}
        self._buffers = Reused(runner.cuda)
        self._allocator = native_allocator(runner.loaded.trt, self._buffers)

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs by name. Rows that are too many for the plan are read in parts.

        Raises:
            InputError: an input is missing, unknown, of another dtype, or of a size that no profile allows.
            EngineError: TensorRT or CUDA fails.
        """
        runner = self._runner
        if unknown := feeds.keys() - runner.inputs.keys():
            raise InputError("unknown inputs", found=", ".join(unknown), expected=", ".join(runner.inputs))
        arrays = {name: contiguous(runner.inputs[name], array) for name, array in feeds.items()}
        by_row = [name for name in arrays if runner.inputs[name].by_row]
        rows = max((len(arrays[name]) for name in by_row), default=0)
        most = most_rows(runner.plan, {name: array.shape for name, array in arrays.items()})
        if not 0 < most < rows or not all(output.by_row for output in runner.outputs.values()):
            return self._run(arrays)
        parts = [
            self._run(arrays | {name: arrays[name][start : start + most] for name in by_row})
            for start in range(0, rows, most)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in runner.outputs}

    def _run(self, arrays: Feeds) -> Feeds:
        """One call with contiguous arrays."""
        runner = self._runner
        shapes = {name: array.shape for name, array in arrays.items()}
        profile = profile_for(runner.plan, shapes)
        with runner.turn():
            if profile not in self._executions:
                self._executions[profile] = runner.lend(profile)
            execution = self._executions[profile]
            outputs = dict(execution.shape(shapes, list(runner.outputs)))
            addresses = {}
            for name, array in arrays.items():
                buffer = self._buffers.get(name, array.nbytes)
                buffer.write(array, runner.stream)
                addresses[name] = buffer.address
            late = {name for name, shape in outputs.items() if UNKNOWN in shape}
            for name, shape in outputs.items():
                if name in late:
                    execution.allocate_with(name, self._allocator)
                elif name in runner.aliases:
                    addresses[name] = addresses[runner.aliases[name]]
                else:
                    addresses[name] = self._buffers.get(name, runner.outputs[name].nbytes(shape)).address
            execution.run(addresses, record=not late)
            if late:
                runner.stream.wait()
                outputs |= {name: self._allocator.shapes[name] for name in late}
            found = {name: np.empty(shape, runner.outputs[name].dtype) for name, shape in outputs.items()}
            for name, array in found.items():
                self._buffers.get(runner.aliases.get(name, name), array.nbytes).read(array, runner.stream)
            runner.stream.wait()
            return found

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        """See `Session.decode`.

        Raises:
            ContextError: the capacity is more than the plan's.
            EngineError: the plan does not write its cache in place.
        """
        if cache.layout == "none":
            return RecomputeDecoding(self, batch, capacity, constants or {})
        decoding = SharedPlanDecoding if cache.layout == "shared" else GrowingPlanDecoding
        return decoding(self._runner, cache, batch, capacity, constants or {})

    def close(self) -> None:
        """Give everything back. Calls that are running finish first; generations can not go on."""
        self._runner.close()
        self._executions.clear()
