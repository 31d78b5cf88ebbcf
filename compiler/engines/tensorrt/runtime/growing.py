"""Generation with a plan whose cache grows: `present` of one step is `past` of the next.

Two sets of buffers take turns. Padding stays in the cache as columns that the mask leaves out, as in
`onnxruntime.decoding.ConcatenatedDecoding`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.engines import Feeds
from compiler.engines.plans.selection import Shape, Shapes
from compiler.engines.tensorrt.runtime.buffers import DeviceBuffer
from compiler.engines.tensorrt.runtime.decoding import Placed, PlanDecoding, cache_names
from compiler.engines.tensorrt.runtime.runner import Runner
from compiler.records import CacheShape


class GrowingPlanDecoding(PlanDecoding):
    """A cache (batch, kv_heads, columns so far, head_dim). A row's tokens end at the last column of their step."""

    def __init__(self, runner: Runner, cache: CacheShape, batch: int, capacity: int, constants: Feeds) -> None:
        super().__init__(runner, batch, capacity, constants)
        self._names = cache_names(cache)
        self._heads, self._head_dim = cache.kv_heads, cache.head_dim
        self._column_bytes = cache.head_dim * np.dtype(cache.dtype).itemsize
        # Which columns hold a token: of those so far, and of those after the step that runs.
        self._real = self._next = np.zeros((batch, 0), bool)
        self._turn = 0  # which of the two sets is past

    def _tokens(self, input_ids: np.ndarray, lengths: np.ndarray, new: np.ndarray) -> tuple[Feeds, np.ndarray]:
        sequence = input_ids.shape[1]
        columns = np.arange(sequence)
        begin = sequence - new
        added = columns >= (sequence - lengths + self._lengths)[:, None]  # of a finished row none
        self._next = np.concatenate([self._real, added], axis=1)
        first = np.minimum(self._lengths, lengths - 1)
        return {
            "input_ids": np.stack([np.roll(row, by) for row, by in zip(input_ids, begin, strict=True)]),
            "attention_mask": self._next.astype(np.int64),
            "position_ids": np.maximum(first[:, None] + columns - begin[:, None], 0),
        }, begin + new - 1

    def _run(self, tokens: Feeds) -> np.ndarray:
        logits = super()._run(tokens)
        self._real, self._turn = self._next, 1 - self._turn
        return logits

    def _most(self, shapes: Shapes) -> int:
        return 0  # the rows of a cache of any number of columns do not begin where TensorRT takes an address

    def _past(self) -> dict[str, Placed]:
        shape = (self._batch, self._heads, self._real.shape[1], self._head_dim)
        return {past: Placed(self._buffer(past, self._turn).address, shape) for past, _ in self._names}

    def _present(self, outputs: Mapping[str, Shape]) -> dict[str, int]:
        columns = self._next.shape[1]
        buffers = {present: self._buffer(past, 1 - self._turn, self._batch, columns) for past, present in self._names}
        return {present: buffer.address for present, buffer in buffers.items()}

    def _select(self, rows: np.ndarray) -> None:
        columns = self._real.shape[1]
        row_bytes = self._heads * columns * self._column_bytes
        for past, _ in self._names:
            old, new = self._buffer(past, self._turn), self._buffer(past, 1 - self._turn, len(rows), columns)
            for target, source in enumerate(rows.tolist()):
                new.take(target * row_bytes, old, source * row_bytes, row_bytes, self._runner.stream)
        self._real = self._real[rows]
        self._turn = 1 - self._turn

    def _truncate(self, length: int) -> None:
        kept = np.flatnonzero(self._real[0])[:length]
        runs = np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1)  # of columns side by side
        pitches = (kept.size * self._column_bytes, self._real.shape[1] * self._column_bytes)
        for past, _ in self._names:
            old, new = self._buffer(past, self._turn), self._buffer(past, 1 - self._turn, 1, kept.size)
            done = 0
            for run in (run for run in runs if run.size):
                at, of, width = (count * self._column_bytes for count in (done, int(run[0]), run.size))
                for head in range(self._heads):
                    to, source = at + head * pitches[0], of + head * pitches[1]
                    new.take(to, old, source, width, self._runner.stream)
                done += run.size
        self._real = np.ones((1, kept.size), bool)
        self._turn = 1 - self._turn

    def _buffer(self, past: str, turn: int, rows: int = 0, columns: int = 0) -> DeviceBuffer:
        """One of the two buffers of a cache tensor, of the whole capacity at once so that it seldom grows."""
        columns = max(columns, self.capacity) if rows else 0
        return self._buffers.get(f"{past} {turn}", rows * self._heads * columns * self._column_bytes)
