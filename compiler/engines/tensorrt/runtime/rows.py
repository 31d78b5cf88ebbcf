"""Tensors on the device whose rows come, go and change places, without a way through the host."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from compiler.engines.tensorrt.runtime.buffers import Cuda, DeviceBuffer, Reused, Stream

SPARE = "rows on their way"


class Rows:
    """A tensor (rows, heads, columns, ...) on the device, of zeros at first.

    Its address stays the same until there are more rows than ever before.

    Args:
        spare: memory that tensors of one stream may share for rows that are on their way.
    """

    def __init__(self, cuda: Cuda, stream: Stream, shape: Sequence[int], dtype: np.dtype, *, spare: Reused) -> None:
        self._cuda, self._stream, self._spare = cuda, stream, spare
        self.rows, self._inner, self._rank = (shape or (1,))[0], tuple(shape[1:]), len(shape)
        self._bytes = math.prod(self._inner) * dtype.itemsize
        self._buffer = self._zeros(self.rows)

    @property
    def address(self) -> int:
        return self._buffer.address

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, *self._inner)[: self._rank]

    def write(self, array: np.ndarray) -> None:
        """All values. The array must stay as it is until the stream was waited for."""
        self._buffer.write(array, self._stream)

    def select(self, rows: np.ndarray, columns: int | None = None) -> None:
        """Go on with these rows (new rows,) int64, in this order.

        Args:
            columns: how many of the columns, the third dim of the tensor, hold anything; by default all do.
        """
        if len(rows) * self._bytes > self._buffer.size:
            old, self._buffer = self._buffer, self._zeros(len(rows))
            for target, source in enumerate(rows.tolist()):
                self._move(self._at(self._buffer, target), self._at(old, source), columns)
            self._stream.wait()
            old.free()
        else:
            moved = [(target, source) for target, source in enumerate(rows.tolist()) if target != source]
            spare = self._spare.get(SPARE, len(moved) * self._bytes)
            for index, (_, source) in enumerate(moved):
                self._move(self._at(spare, index), self._at(self._buffer, source), columns)
            for index, (target, _) in enumerate(moved):
                self._move(self._at(self._buffer, target), self._at(spare, index), columns)
        self.rows = len(rows)

    def _zeros(self, rows: int) -> DeviceBuffer:
        buffer = DeviceBuffer(self._cuda, rows * self._bytes)
        buffer.zero(self._stream)
        return buffer

    def _at(self, buffer: DeviceBuffer, row: int) -> int:
        return buffer.address + row * self._bytes

    def _move(self, target: int, source: int, columns: int | None) -> None:
        """Copy a row: of every head the columns that hold something."""
        heads = self._inner[0] if columns is not None else 1
        pitch = self._bytes // heads
        width = pitch if columns is None else pitch // self._inner[1] * columns
        kind = self._cuda.names.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        if width:
            self._cuda("cudaMemcpy2DAsync", target, pitch, source, pitch, width, heads, kind, self._stream.handle)
