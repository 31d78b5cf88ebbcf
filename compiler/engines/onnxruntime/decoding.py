"""Generation with the key/value cache in the memory that ONNX Runtime works in.

A step binds only what changes. Both layouts of `CacheShape` give the same answers; "shared" writes new keys and
values in place, "concatenated" copies the whole cache every step. On a GPU caches and constants stay there; logits come
to the host, and so do, once, a cache's rows where `select` or `truncate` changes them: beams pay for that, rows that
only go on do not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.engines import Feeds
from compiler.engines.memory import require_room
from compiler.engines.onnxruntime.buffers import Buffer
from compiler.engines.onnxruntime.cuda_graphs import NOT_RECORDED, Recording
from compiler.engines.onnxruntime.native import DTYPES, explained
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.engines.truncation import require_truncatable
from compiler.errors import ContextError, EngineError
from compiler.records import CacheShape

LOGITS = "logits"


class _Decoding(ABC):
    """What both layouts share: the step, with the feeds left to them."""

    def __init__(
        self, native: Any, provider: Provider, cache: CacheShape, batch: int, capacity: int, *, constants: Feeds
    ) -> None:
        if provider.on_host:
            require_room(cache, batch, capacity)
        self.capacity = capacity
        self._native = native
        self._provider = provider
        self._cache = cache
        self._batch = batch
        self._lengths = np.zeros(batch, np.int64)
        self._inputs = {each.name for each in native.get_inputs()}
        self._binding = native.io_binding()
        self._bound: dict[str, Buffer] = {}
        self._recording: Recording | None = None
        self._vocabulary, self._logits_dtype = _vocabulary(native)
        by_row = {each.name for each in native.get_inputs() if each.shape and each.shape[0] == "batch"}
        self._by_row = {name: array for name, array in constants.items() if name in by_row}
        self._origin = np.arange(batch)  # the row of these that belongs to each row
        for name, array in constants.items():
            self._fix(name, array)

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `compiler.engines.Decoding.step`.

        Raises:
            ContextError: a row would grow beyond the capacity.
            EngineError: the model fails.
        """
        if (longest := int(lengths.max())) > self.capacity:
            raise ContextError("the cache is full", found=f"{longest} tokens", expected=f"at most {self.capacity}")
        sequence = input_ids.shape[1]
        new = np.maximum(lengths - self._lengths, 1)
        begin = self._begin(sequence, new)
        last = begin + new - 1
        self._bind("input_ids", _moved(input_ids, begin))
        mask = self._mask(sequence, lengths)
        if "attention_mask" in self._inputs:
            self._bind("attention_mask", mask)
        if "position_ids" in self._inputs:
            first = np.minimum(self._lengths, lengths - 1)  # a finished row repeats its last position
            self._bind("position_ids", np.maximum(first[:, None] + np.arange(sequence) - begin[:, None], 0))
        selects = "logits_positions" in self._inputs
        if selects:
            self._bind("logits_positions", last[:, None])
        output = self._logits(1 if selects else sequence)
        self._run(sequence)
        self._lengths = np.array(lengths, np.int64)
        logits = output.read().astype(np.float32, copy=False)
        return logits[:, 0] if selects else logits[np.arange(self._batch), last]

    def select(self, rows: np.ndarray) -> None:
        """See `compiler.engines.Decoding.select`."""
        if np.array_equal(rows, np.arange(self._batch)):
            return
        if len(rows) > self._batch and self._provider.on_host:
            require_room(self._cache, len(rows), self.capacity)
        origin = self._origin[rows]
        if not np.array_equal(origin, self._origin):  # beams of one prompt change places, and keep their constants
            for name, array in self._by_row.items():
                self._fix(name, array[origin])
        self._origin = origin
        self._select(rows)
        self._batch = len(rows)
        self._lengths = self._lengths[rows]

    def truncate(self, length: int) -> None:
        """See `compiler.engines.Decoding.truncate`."""
        require_truncatable(self._batch, length, int(self._lengths[0]))
        if length < self._lengths[0]:
            self._lengths[0] = length
            self._truncate(length)

    @abstractmethod
    def _select(self, rows: np.ndarray) -> None:
        """Bring the cache's rows into this order; the batch is still the old one."""

    @abstractmethod
    def _truncate(self, length: int) -> None:
        """Cut the cache of a single row."""

    def _begin(self, sequence: int, new: np.ndarray) -> np.ndarray:
        """The column, of `sequence` new ones, that each row's `new` tokens begin at."""
        return np.zeros_like(new)

    @abstractmethod
    def _mask(self, sequence: int, lengths: np.ndarray) -> np.ndarray:
        """The attention mask (batch, columns) int64 of this step."""

    def _run(self, sequence: int) -> None:
        """One call with what is bound, for `sequence` new tokens a row."""
        options = self._recording.options if self._recording is not None else NOT_RECORDED
        with explained("failed while generating"):
            self._native.run_with_iobinding(self._binding, options)

    def _fix(self, name: str, array: np.ndarray) -> None:
        """Give an input values that stay."""
        self._bind_input(name, Buffer.holding(array, self._provider))

    def _bind(self, name: str, array: np.ndarray) -> None:
        """Give an input the values of `array`; memory of the same shape is kept."""
        buffer = self._bound.get(name)
        if buffer is None or buffer.shape != array.shape:
            self._fix(name, np.array(array, np.int64, order="C"))
            return
        buffer.write(array)
        if not self._provider.on_host:  # an input that is read on the CPU was copied as it was bound
            self._bind_input(name, buffer)

    def _bind_input(self, name: str, buffer: Buffer) -> None:
        if self._bound.get(name) is not buffer:
            self._recording = None  # it would replay with the memory from before
        self._bound[name] = buffer
        with explained(f"cannot take {name}"):
            self._binding.bind_ortvalue_input(name, buffer.value)

    def _bind_output(self, name: str, buffer: Buffer) -> None:
        self._recording = None
        with explained(f"cannot give {name}"):
            self._binding.bind_ortvalue_output(name, buffer.value)

    def _logits(self, kept: int) -> Buffer:
        """The bound output (batch, kept, vocabulary): on the host, or where a recorded call can write it."""
        shape = (self._batch, kept, self._vocabulary)
        buffer = self._bound.get(LOGITS)
        if buffer is None or buffer.shape != shape:
            where = self._provider if self._provider.cuda_graph else CPU
            self._bound[LOGITS] = buffer = Buffer(shape, self._logits_dtype, where)
            self._bind_output(LOGITS, buffer)
        return buffer


class SharedDecoding(_Decoding):
    """One buffer per layer, key and value, of (batch, kv_heads, columns, head_dim), written in place.

    `columns` is the capacity, or what the graph fixes; then the capacity may be less.
    """

    def __init__(
        self, native: Any, provider: Provider, cache: CacheShape, batch: int, capacity: int, *, constants: Feeds
    ) -> None:
        super().__init__(native, provider, cache, batch, capacity, constants=constants)
        self._columns = cache.capacity or capacity
        if capacity > self._columns:
            raise ContextError(
                "the cache is too small", found=f"{capacity} tokens", expected=f"at most {cache.capacity}"
            )
        for past, present in _cache_names(cache):
            self._share(past, present, self._zeros(batch))

    def _zeros(self, batch: int) -> np.ndarray:
        """Never uninitialized memory: a weight of 0 does not hide a value that is not a number."""
        return np.zeros((batch, self._cache.kv_heads, self._columns, self._cache.head_dim), self._cache.dtype)

    def _share(self, past: str, present: str, array: np.ndarray) -> None:
        buffer = Buffer.holding(array, self._provider)
        self._bind_input(past, buffer)
        self._bind_output(present, buffer)

    def _select(self, rows: np.ndarray) -> None:
        used = int(self._lengths.max())
        moved = np.flatnonzero(rows != np.arange(len(rows)))
        for past, present in _cache_names(self._cache):
            buffer = self._bound[past]
            old = buffer.read()
            if len(rows) == self._batch:
                old[moved, :, :used] = old[rows[moved], :, :used]
                buffer.write(old)
            else:
                new = self._zeros(len(rows))
                new[:, :, :used] = old[rows, :, :used]
                self._share(past, present, new)

    def _truncate(self, length: int) -> None:
        pass  # what lies behind a row's length is never read

    def _mask(self, sequence: int, lengths: np.ndarray) -> np.ndarray:
        if not self._lengths.any():
            width = sequence
        else:
            width = self._columns if self._provider.cuda_graph else int(lengths.max())
        return (np.arange(width) < lengths[:, None]).astype(np.int64)

    def _run(self, sequence: int) -> None:
        """Steps of one token are recorded: nothing in them changes but values."""
        if not self._provider.cuda_graph or sequence > 1 or not self._lengths.any():
            self._recording = None
        elif self._recording is None:
            self._recording = Recording(self._native)
        super()._run(sequence)


class ConcatenatedDecoding(_Decoding):
    """`present` of one step is `past` of the next; padding stays in the cache as columns that the mask leaves out.

    It lies before a row's tokens, never among them: a sliding window counts columns.
    """

    def __init__(
        self, native: Any, provider: Provider, cache: CacheShape, batch: int, capacity: int, *, constants: Feeds
    ) -> None:
        super().__init__(native, provider, cache, batch, capacity, constants=constants)
        self._real = np.zeros((batch, 0), np.int64)
        self._present = {names: self._allocate(0) for names in _cache_names(cache)}

    def _allocate(self, columns: int) -> Buffer:
        shape = (self._batch, self._cache.kv_heads, columns, self._cache.head_dim)
        return Buffer(shape, np.dtype(self._cache.dtype), self._provider)

    def _replace(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change every tensor of the cache in this way."""
        self._present = {
            names: Buffer.holding(change(buffer.read()), self._provider) for names, buffer in self._present.items()
        }

    def _select(self, rows: np.ndarray) -> None:
        self._real = self._real[rows]
        self._replace(lambda array: array[rows])

    def _truncate(self, length: int) -> None:
        columns = np.flatnonzero(self._real[0])[:length]
        self._real = self._real[:, columns]
        self._replace(lambda array: array[:, :, columns])

    def _begin(self, sequence: int, new: np.ndarray) -> np.ndarray:
        return sequence - new

    def _mask(self, sequence: int, lengths: np.ndarray) -> np.ndarray:
        new = np.arange(sequence) >= (sequence - lengths + self._lengths)[:, None]
        self._real = np.concatenate([self._real, new.astype(np.int64)], axis=1)
        return self._real

    def _run(self, sequence: int) -> None:
        columns = self._real.shape[1]
        for (past, present), buffer in self._present.items():
            self._bind_input(past, buffer)
            self._present[past, present] = grown = self._allocate(columns)
            self._bind_output(present, grown)
        super()._run(sequence)


def _cache_names(cache: CacheShape) -> list[tuple[str, str]]:
    return [
        (f"past_key_values.{layer}.{part}", f"present.{layer}.{part}")
        for layer in range(cache.layers)
        for part in ("key", "value")
    ]


def _moved(tokens: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Each row moved to the right by so many columns, its padding to the front."""
    if not columns.any():
        return tokens
    return np.stack([np.roll(row, by) for row, by in zip(tokens, columns, strict=True)])


def _vocabulary(native: Any) -> tuple[int, np.dtype]:
    """The last dim of the logits, and their dtype."""
    output = next((each for each in native.get_outputs() if each.name == LOGITS), None)
    shape = output.shape if output is not None else None
    if output is None or not shape or not isinstance(shape[-1], int):
        raise EngineError(
            "this model cannot generate", found=f"{LOGITS}: {shape}", expected=f"an output {LOGITS} (..., vocabulary)"
        )
    return shape[-1], DTYPES[output.type]
