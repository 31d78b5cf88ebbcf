"""Weights as quantized graphs store them: read as the float32 matrix they stand for, and changed as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

MIDDLE = 128  # the code of zero where 8-bit blocks have no zero points of their own


def read(model: ir.Model, name: str) -> np.ndarray | None:
    """A quantized weight as (K, N) float32, a table as (rows, K); None where the graph has none of this name."""
    found = _found(model, name)
    return None if found is None else found.matrix()


def write(model: ir.Model, name: str, array: np.ndarray) -> None:
    """Give it other values. What does not change keeps its codes; the rest is rounded anew, as coarsely as before."""
    found = _found(model, name)
    assert found is not None
    found.change(array)


class Columns:
    """Signed codes (K, N) with a scale for each column."""

    def __init__(self, codes: ir.Value, scales: ir.Value) -> None:
        self.codes, self.scales = codes, scales

    def matrix(self) -> np.ndarray:
        return array_of(self.codes).astype(np.float32) * array_of(self.scales)

    def change(self, array: np.ndarray) -> None:
        codes, scales = array_of(self.codes), array_of(self.scales)
        top = np.abs(codes.astype(int)).max()
        other = (array != self.matrix()).any(axis=0)
        scales[other] = np.abs(array[:, other]).max(axis=0) / top
        with np.errstate(invalid="ignore"):
            codes[:, other] = np.nan_to_num(np.rint(array[:, other] / scales[other])).astype(np.int8)
        store(self.codes, codes)
        store(self.scales, scales)


class Blocks:
    """Unsigned codes (N, blocks, bytes), 8 bits around 128 or two of 4 bits a byte, with a scale for each block."""

    def __init__(self, codes: ir.Value, scales: ir.Value, zeros: ir.Value | None, *, table: bool) -> None:
        self.codes, self.scales, self.zeros, self.table = codes, scales, zeros, table

    def matrix(self) -> np.ndarray:
        rows = self._rows()
        return rows if self.table else rows.T

    def change(self, array: np.ndarray) -> None:
        rows = self._rows()
        wanted = np.ascontiguousarray(array if self.table else array.T, np.float32)
        codes, scales, zeros = self._codes(), array_of(self.scales), self._zeros()
        new, old = wanted.reshape(codes.shape), rows.reshape(codes.shape)
        other = (new != old).any(axis=-1)
        low, high = np.minimum(new[other].min(axis=-1), 0), np.maximum(new[other].max(axis=-1), 0)
        if self.zeros is None:
            scales[other] = np.maximum(-low, high) / (MIDDLE - 1)
        else:
            scales[other] = (high - low) / 15
        step = np.where(scales[other] == 0, 1, scales[other])
        if self.zeros is not None:
            zeros[other] = np.rint(-low / step)
        top = 255 if self.zeros is None else 15
        codes[other] = np.clip(np.rint(new[other] / step[:, None]) + zeros[other][:, None], 0, top)
        store(self.codes, codes if self.zeros is None else pack(codes))
        store(self.scales, scales)
        if self.zeros is not None:
            store(self.zeros, pack(zeros))

    def _rows(self) -> np.ndarray:
        values = (self._codes().astype(np.float32) - self._zeros()[..., None]) * array_of(self.scales)[..., None]
        return np.asarray(values.reshape(len(values), -1))

    def _codes(self) -> np.ndarray:
        codes = array_of(self.codes)
        return codes if self.zeros is None else unpack(codes)

    def _zeros(self) -> np.ndarray:
        scales = array_of(self.scales)
        if self.zeros is None:
            return np.full(scales.shape, MIDDLE, np.uint8)
        return unpack(array_of(self.zeros))[:, : scales.shape[1]]


def _found(model: ir.Model, name: str) -> Columns | Blocks | None:
    values = model.graph.initializers
    for bits in ("int8", "int4"):
        found = [key for key in values if key == f"{name}.{bits}" or key.endswith(f".{name}.{bits}")]
        if not found:
            continue
        (key,) = found
        if f"{key}.scales" not in values:
            return Columns(values[key], values[f"{key.removesuffix('.int8')}.scale"])
        table = any(user.node.op_type == "GatherBlockQuantized" for user in values[key].uses())
        zeros = values.get(f"{key}.zeros")
        return Blocks(values[key], values[f"{key}.scales"], zeros, table=table)
    return None


def array_of(value: ir.Value) -> np.ndarray:
    """A copy of an initializer's numbers."""
    assert value.const_value is not None
    return np.array(value.const_value.numpy())


def store(value: ir.Value, array: Any) -> None:
    before = array_of(value)
    assert array.shape == before.shape
    value.const_value = ir.tensor(np.ascontiguousarray(array.astype(before.dtype)), name=value.name)


def unpack(codes: np.ndarray) -> np.ndarray:
    """Bytes to the 4-bit codes in them, the low half first, along the last axis."""
    return np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:-1], -1)


def pack(codes: np.ndarray) -> np.ndarray:
    """The bytes again; an odd last code gets a byte of its own."""
    even = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    return np.asarray(even[..., ::2] | (even[..., 1::2] << 4))
