"""Generation with the key/value cache in the GPU's memory.

Of a step only tokens and positions go to the device, and only logits come back. Both layouts give the same answers as
on ONNX Runtime; here is what they share, and the one with a cache of fixed capacity.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from compiler.engines import Feeds
from compiler.engines.plans.selection import Shape, Shapes, most_rows, profile_for
from compiler.engines.tensorrt.runtime.buffers import Reused
from compiler.engines.tensorrt.runtime.execution import Execution
from compiler.engines.tensorrt.runtime.rows import Rows
from compiler.engines.tensorrt.runtime.runner import Runner, contiguous
from compiler.engines.truncation import require_truncatable
from compiler.errors import ContextError, EngineError, InputError
from compiler.records import CacheShape

LOGITS = "logits"
ALIGNMENT = 256  # bytes, of every address that TensorRT is given


class Placed(NamedTuple):
    """A tensor on the device."""

    address: int
    shape: Shape


class PlanDecoding(ABC):
    """A `compiler.engines.Decoding`."""

    def __init__(self, runner: Runner, batch: int, capacity: int, constants: Feeds) -> None:
        if LOGITS not in runner.outputs:
            raise EngineError(
                "this model cannot generate", found=", ".join(runner.outputs), expected=f"an output {LOGITS}"
            )
        if unknown := constants.keys() - runner.inputs.keys():
            raise InputError("unknown inputs", found=", ".join(unknown), expected=", ".join(runner.inputs))
        self.capacity = capacity
        self._runner = runner
        self._batch = batch
        self._lengths = np.zeros(batch, np.int64)
        self._origin = np.arange(batch)  # the row of the constants as they were given that belongs to each row
        self._executions: dict[int, Execution] = {}
        weakref.finalize(self, runner.take_back, self._executions)
        self._buffers = Reused(runner.cuda)
        with runner.turn():
            self._constants = {name: self._constant(name, array) for name, array in constants.items()}
            runner.stream.wait()

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `compiler.engines.Decoding.step`.

        Raises:
            ContextError: a row would grow beyond the capacity.
            InputError: no profile of the plan allows so many tokens at once.
            EngineError: TensorRT or CUDA fails.
        """
        if (longest := int(lengths.max())) > self.capacity:
            raise ContextError("the cache is full", found=f"{longest} tokens", expected=f"at most {self.capacity}")
        new = np.maximum(lengths - self._lengths, 1)
        tokens, last = self._tokens(input_ids, lengths, new)
        selects = "logits_positions" in self._runner.inputs
        tokens["logits_positions"] = last[:, None]
        logits = self._run({name: array for name, array in tokens.items() if name in self._runner.inputs})
        self._lengths = np.array(lengths, np.int64)
        chosen = logits[:, 0] if selects else logits[np.arange(self._batch), last]
        return chosen.astype(np.float32, copy=False)

    def select(self, rows: np.ndarray) -> None:
        """See `compiler.engines.Decoding.select`."""
        if np.array_equal(rows, np.arange(self._batch)):
            return
        origin = self._origin[rows]
        with self._runner.turn():
            if not np.array_equal(origin, self._origin):  # beams of one prompt change places, and keep their constants
                for name, constant in self._constants.items():
                    if self._runner.inputs[name].by_row:
                        constant.select(rows)
            self._select(rows)
            self._runner.stream.wait()
        self._origin = origin
        self._batch = len(rows)
        self._lengths = self._lengths[rows]

    def truncate(self, length: int) -> None:
        """See `compiler.engines.Decoding.truncate`."""
        require_truncatable(self._batch, length, int(self._lengths[0]))
        if length < self._lengths[0]:
            with self._runner.turn():
                self._truncate(length)
            self._lengths[0] = length

    @abstractmethod
    def _tokens(self, input_ids: np.ndarray, lengths: np.ndarray, new: np.ndarray) -> tuple[Feeds, np.ndarray]:
        """What goes to the device in a step, each (batch, ...) int64, and of each row the column of its last token."""

    @abstractmethod
    def _past(self) -> dict[str, Placed]:
        """The cache as it is, by the names of inputs."""

    @abstractmethod
    def _present(self, outputs: Mapping[str, Shape]) -> dict[str, int]:
        """Addresses for the cache as it becomes, by the names of outputs."""

    @abstractmethod
    def _select(self, rows: np.ndarray) -> None:
        """Bring the cache's rows into this order; the batch is still the old one."""

    @abstractmethod
    def _truncate(self, length: int) -> None:
        """Cut the cache of a single row, whose length is still the old one."""

    def _profile(self, shapes: Shapes) -> int:
        return profile_for(self._runner.plan, shapes)

    def _most(self, shapes: Shapes) -> int:
        """How many rows one call takes; 0 where it has to take all."""
        return most_rows(self._runner.plan, shapes)

    def _run(self, tokens: Feeds) -> np.ndarray:
        """The logits as the graph gives them, from one call, or from several where one does not take all rows."""
        runner = self._runner
        arrays = {name: contiguous(runner.inputs[name], array) for name, array in tokens.items()}
        with runner.turn():
            held = self._past() | {name: Placed(rows.address, rows.shape) for name, rows in self._constants.items()}
            shapes = {name: array.shape for name, array in arrays.items()}
            most = self._most(shapes | {name: placed.shape for name, placed in held.items()})
            if not 0 < most < self._batch or not self._aligned(held):
                most = self._batch
            starts = range(0, self._batch, most)
            logits = [self._call(_rows(arrays, start, most), self._part(held, start, most), start) for start in starts]
            runner.stream.wait()
        return logits[0] if len(logits) == 1 else np.concatenate(logits)

    def _call(self, arrays: Feeds, held: Mapping[str, Placed], start: int) -> np.ndarray:
        """Add a call for the rows from `start` to the stream; the logits are there when it was waited for."""
        runner = self._runner
        shapes = {name: placed.shape for name, placed in held.items()}
        shapes |= {name: array.shape for name, array in arrays.items()}
        profile = self._profile(shapes)
        if profile not in self._executions:
            self._executions[profile] = runner.lend(profile)
        execution = self._executions[profile]
        outputs = execution.shape(shapes, list(runner.outputs))
        addresses = {name: placed.address for name, placed in held.items()}
        for name, array in arrays.items():
            buffer = self._buffers.get(name, array.nbytes)
            buffer.write(array, runner.stream)
            addresses[name] = buffer.address
        for name, address in self._present(outputs).items():
            addresses[name] = address + start * runner.outputs[name].nbytes(outputs[name][1:])
        for name in outputs.keys() - addresses.keys():
            addresses[name] = self._buffers.get(name, runner.outputs[name].nbytes(outputs[name])).address
        execution.run(addresses)
        logits = np.empty(outputs[LOGITS], runner.outputs[LOGITS].dtype)
        self._buffers.get(LOGITS, logits.nbytes).read(logits, runner.stream)
        return logits

    def _aligned(self, held: Mapping[str, Placed]) -> bool:
        """Whether TensorRT takes the address of any row."""
        inputs = self._runner.inputs
        by_row = [(inputs[name], placed.shape) for name, placed in held.items() if inputs[name].by_row]
        return all(typed.nbytes(shape[1:]) % ALIGNMENT == 0 for typed, shape in by_row)

    def _part(self, held: Mapping[str, Placed], start: int, count: int) -> dict[str, Placed]:
        """These tensors from one row on, those without rows as they are."""
        found = dict(held)
        for name, (address, shape) in held.items():
            typed = self._runner.inputs[name]
            if typed.by_row:
                rows = min(count, shape[0] - start)
                found[name] = Placed(address + start * typed.nbytes(shape[1:]), (rows, *shape[1:]))
        return found

    def _constant(self, name: str, array: np.ndarray) -> Rows:
        array = contiguous(self._runner.inputs[name], array)
        held = Rows(self._runner.cuda, self._runner.stream, array.shape, array.dtype, spare=self._buffers)
        held.write(array)
        return held


class SharedPlanDecoding(PlanDecoding):
    """A cache (batch, kv_heads, capacity of the plan, head_dim) that is written in place: past and present are one.

    Rows lie at columns 0 to length - 1. What a padded step writes behind that is seen by no token, and overwritten.
    """

    def __init__(self, runner: Runner, cache: CacheShape, batch: int, capacity: int, constants: Feeds) -> None:
        columns = cache.capacity
        if columns is None:
            raise EngineError("a plan needs a cache of a fixed capacity", found="one of any capacity")
        if capacity > columns:
            raise ContextError(
                "the plan's cache is too small", found=f"{capacity} tokens", expected=f"at most {columns}"
            )
        super().__init__(runner, batch, capacity, constants)
        self._profiles: dict[Shape, int] = {}  # by batch and sequence: nothing else changes
        self._parts: dict[Shape, int] = {}
        shape, dtype = (batch, cache.kv_heads, columns, cache.head_dim), np.dtype(cache.dtype)
        with runner.turn():
            self._rows = {
                past: Rows(runner.cuda, runner.stream, shape, dtype, spare=self._buffers)
                for past, present in cache_names(cache)
                if _in_place(runner, past, present)
            }

    def _tokens(self, input_ids: np.ndarray, lengths: np.ndarray, new: np.ndarray) -> tuple[Feeds, np.ndarray]:
        first = np.minimum(self._lengths, lengths - 1)  # a finished row repeats its last position
        positions = first[:, None] + np.arange(input_ids.shape[1])
        return {"input_ids": input_ids, "position_ids": positions}, new - 1

    def _past(self) -> dict[str, Placed]:
        return {name: Placed(rows.address, rows.shape) for name, rows in self._rows.items()}

    def _present(self, outputs: Mapping[str, Shape]) -> dict[str, int]:
        return {name: self._rows[past].address for name, past in self._runner.aliases.items()}

    def _select(self, rows: np.ndarray) -> None:
        used = int(self._lengths.max())
        for held in self._rows.values():
            held.select(rows, used)

    def _truncate(self, length: int) -> None:
        pass  # what lies behind a row's length is never read

    def _profile(self, shapes: Shapes) -> int:
        key = shapes["input_ids"]
        if key not in self._profiles:
            self._profiles[key] = super()._profile(shapes)
        return self._profiles[key]

    def _most(self, shapes: Shapes) -> int:
        key = shapes["input_ids"]
        if key not in self._parts:
            self._parts[key] = super()._most(shapes)
        return self._parts[key]


def _rows(arrays: Feeds, start: int, count: int) -> Feeds:
    return {name: array[start : start + count] for name, array in arrays.items()}


def cache_names(cache: CacheShape) -> list[tuple[str, str]]:
    """Past and present of every layer's key and value."""
    parts = [f"{layer}.{part}" for layer in range(cache.layers) for part in ("key", "value")]
    return [(f"past_key_values.{part}", f"present.{part}") for part in parts]


def _in_place(runner: Runner, past: str, present: str) -> bool:
    """True where the plan writes `present` over `past`; otherwise raises EngineError."""
    found = runner.aliases.get(present)
    if found != past:
        raise EngineError(
            f"{runner.plan.file}: this plan does not write its cache in place",
            found=f"{present} over {found or 'nothing'}",
            expected=f"{present} over {past}",
        )
    return True
