"""Generation with the key/value cache in ONNX Runtime's memory.

A step binds only what changes. Both layouts of `CacheShape` give the same answers; "shared" writes new keys and
values in place, "concatenated" copies the whole cache every step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from onnxruntime import OrtValue

from compiler.engines import Feeds
from compiler.errors import ContextError, EngineError, InputError
from compiler.records import CacheShape

LOGITS = "logits"


class _Decoding(ABC):
    """What both layouts share: the step, with the feeds left to them."""

    def __init__(self, native: Any, cache: CacheShape, batch: int, capacity: int, constants: Feeds) -> None:
        self.capacity = capacity
        self._native = native
        self._cache = cache
        self._batch = batch
        self._lengths = np.zeros(batch, np.int64)
        self._inputs = {each.name for each in native.get_inputs()}
        self._binding = native.io_binding()
        self._bound: dict[str, np.ndarray] = {}
        self._vocabulary = _vocabulary(native)
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
        logits = self._logits(1 if selects else sequence)
        self._run()
        self._lengths = np.array(lengths, np.int64)
        return logits[:, 0] if selects else logits[np.arange(self._batch), last]

    def select(self, rows: np.ndarray) -> None:
        """See `compiler.engines.Decoding.select`."""
        if np.array_equal(rows, np.arange(self._batch)):
            return
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
        if self._batch != 1:
            raise InputError("only a single row can be truncated", found=f"{self._batch} rows", expected="1")
        if not 0 <= length <= int(self._lengths[0]):
            raise InputError("truncate", found=str(length), expected=f"0 to {int(self._lengths[0])}, what is held")
        if length < self._lengths[0]:
            self._lengths[0] = length
            self._truncate(length)

    @abstractmethod
    def _select(self, rows: np.ndarray) -> None:
        """Bring the cache's rows into this order; the batch is still the old one."""

    @abstractmethod
    def _truncate(self, length: int) -> None:
        """Cut the cache of a single row."""

    def _fix(self, name: str, array: np.ndarray) -> None:
        """Give an input values that stay."""
        self._bound[name] = np.ascontiguousarray(array)
        self._binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(self._bound[name]))

    def _begin(self, sequence: int, new: np.ndarray) -> np.ndarray:
        """The column, of `sequence` new ones, that each row's `new` tokens begin at."""
        return np.zeros_like(new)

    @abstractmethod
    def _mask(self, sequence: int, lengths: np.ndarray) -> np.ndarray:
        """The attention mask (batch, columns) int64 of this step."""

    def _run(self) -> None:
        from compiler.engines.onnxruntime_cpu.session import NATIVE_ERRORS

        try:
            self._native.run_with_iobinding(self._binding)
        except NATIVE_ERRORS as error:
            raise EngineError("ONNX Runtime failed while generating", found=str(error).strip()) from error

    def _bind(self, name: str, array: np.ndarray) -> None:
        """Give an input the values of `array`; memory of the same shape is kept, so that nothing is bound anew."""
        bound = self._bound.get(name)
        if bound is not None and bound.shape == array.shape:
            np.copyto(bound, array)
            return
        self._fix(name, np.array(array, np.int64, order="C"))

    def _logits(self, kept: int) -> np.ndarray:
        """The bound output (batch, kept, vocabulary) float32."""
        shape = (self._batch, kept, self._vocabulary)
        if LOGITS not in self._bound or self._bound[LOGITS].shape != shape:
            self._bound[LOGITS] = np.empty(shape, np.float32)
            self._binding.bind_ortvalue_output(LOGITS, OrtValue.ortvalue_from_numpy(self._bound[LOGITS]))
        return self._bound[LOGITS]


class SharedDecoding(_Decoding):
    """One buffer per layer, key and value, of (batch, kv_heads, capacity, head_dim), written in place."""

    def __init__(self, native: Any, cache: CacheShape, batch: int, capacity: int, constants: Feeds) -> None:
        super().__init__(native, cache, batch, capacity, constants)
        shape = (batch, cache.kv_heads, capacity, cache.head_dim)
        for past, present in _cache_names(cache):
            self._share(past, present, np.zeros(shape, np.float32))

    def _share(self, past: str, present: str, array: np.ndarray) -> None:
        self._bound[past] = array
        buffer = OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(past, buffer)
        self._binding.bind_ortvalue_output(present, buffer)

    def _select(self, rows: np.ndarray) -> None:
        used = int(self._lengths.max())
        moved = np.flatnonzero(rows != np.arange(len(rows)))
        for past, present in _cache_names(self._cache):
            old = self._bound[past]
            if len(rows) == self._batch:
                old[moved, :, :used] = old[rows[moved], :, :used]
            else:
                new = np.zeros((len(rows), *old.shape[1:]), np.float32)
                new[:, :, :used] = old[rows, :, :used]
                self._share(past, present, new)

    def _truncate(self, length: int) -> None:
        pass  # what lies behind a row's length is never read

    def _mask(self, sequence: int, lengths: np.ndarray) -> np.ndarray:
        prompt = not self._lengths.any()
        width = sequence if prompt else int(lengths.max())
        return (np.arange(width) < lengths[:, None]).astype(np.int64)


class ConcatenatedDecoding(_Decoding):
    """`present` of one step is `past` of the next; padding stays in the cache as columns that the mask leaves out.

    It lies before a row's tokens, never among them: a sliding window counts columns.
    """

    def __init__(self, native: Any, cache: CacheShape, batch: int, capacity: int, constants: Feeds) -> None:
        super().__init__(native, cache, batch, capacity, constants)
        self._real = np.zeros((batch, 0), np.int64)
        self._present = {names: self._allocate(0) for names in _cache_names(cache)}

    def _allocate(self, columns: int) -> np.ndarray:
        return np.empty((self._batch, self._cache.kv_heads, columns, self._cache.head_dim), np.float32)

    def _select(self, rows: np.ndarray) -> None:
        self._real = self._real[rows]
        self._present = {names: array[rows] for names, array in self._present.items()}

    def _truncate(self, length: int) -> None:
        columns = np.flatnonzero(self._real[0])[:length]
        self._real = self._real[:, columns]
        self._present = {names: array[:, :, columns] for names, array in self._present.items()}

    def _begin(self, sequence: int, new: np.ndarray) -> np.ndarray:
        return sequence - new

    def _mask(self, sequence: int, lengths: np.ndarray) -> np.ndarray:
        new = np.arange(sequence) >= (sequence - lengths + self._lengths)[:, None]
        self._real = np.concatenate([self._real, new.astype(np.int64)], axis=1)
        return self._real

    def _run(self) -> None:
        columns = self._real.shape[1]
        for (past, present), array in self._present.items():
            self._fix(past, array)
            self._present[past, present] = grown = self._allocate(columns)
            self._binding.bind_ortvalue_output(present, OrtValue.ortvalue_from_numpy(grown))
        super()._run()


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


def _vocabulary(native: Any) -> int:
    shape = next((each.shape for each in native.get_outputs() if each.name == LOGITS), None)
    if not shape or not isinstance(shape[-1], int):
        raise EngineError(
            "this model cannot generate", found=f"{LOGITS}: {shape}", expected=f"an output {LOGITS} (..., vocabulary)"
        )
    return shape[-1]
