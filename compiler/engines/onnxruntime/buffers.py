"""Tensors that stay bound to a session while their values change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnxruntime import OrtValue

from compiler.engines.onnxruntime.provider import Provider


class Buffer:
    """A tensor in the memory that a provider works in, of a shape and dtype that never change.

    On the host it is numpy's own memory. On a device every read and every write is a copy.

    Attributes:
        value: what a session binds.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype, provider: Provider) -> None:
        """Memory that was not written yet."""
        self.shape, self.dtype = tuple(shape), dtype
        self._array: np.ndarray | None = None
        if provider.on_host:
            self._array = np.empty(shape, dtype)
            self.value = OrtValue.ortvalue_from_numpy(self._array)
        else:
            self.value = OrtValue.ortvalue_from_shape_and_type(
                list(shape), dtype.type, provider.device, provider.device_id
            )

    @classmethod
    def holding(cls, array: np.ndarray, provider: Provider) -> Buffer:
        """The values of `array`; on the host it is that very memory."""
        array = np.ascontiguousarray(array)
        if not provider.on_host:
            buffer = cls(array.shape, array.dtype, provider)
            buffer.write(array)
            return buffer
        buffer = cls.__new__(cls)
        buffer.shape, buffer.dtype, buffer._array = array.shape, array.dtype, array
        buffer.value = OrtValue.ortvalue_from_numpy(array)
        return buffer

    def read(self) -> np.ndarray:
        """On the host the memory itself, otherwise a copy of it."""
        if self._array is not None:
            return self._array
        return np.require(self.value.numpy(), requirements=["OWNDATA", "WRITEABLE"])

    def write(self, array: np.ndarray) -> None:
        """Other values of the same shape."""
        if self._array is None:
            self.value.update_inplace(np.ascontiguousarray(array, self.dtype))
        elif array is not self._array:
            np.copyto(self._array, array)
