"""Four-bit weights in blocks as TensorRT takes them from DequantizeLinear: codes around zero, scales above it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import initializer
from compiler.optimize.quantize.blocks import SHRINK, Blocks, Layout
from compiler.optimize.quantize.eight_bits import FLOAT8, to_half

SMALLEST_FLOAT8 = 2.0**-9


@dataclass(frozen=True)
class Signed(Layout, ABC):
    """A symmetric grid whose scales are positive: TensorRT refuses others."""

    bits: int = 4
    block_size: int = 64
    symmetric: bool = True

    def spread(self, extreme: np.ndarray, shrink: float) -> np.ndarray:
        scale: np.ndarray = np.abs(extreme) * np.float32(shrink / self.middle)
        return scale

    @abstractmethod
    def restore(self, model: ir.Model, name: str, blocks: Blocks, info: dict[str, str]) -> list[ir.Node]:
        """Nodes of which the last gives the weight (K, N) back; K is whole blocks."""


@dataclass(frozen=True)
class Int4(Signed):
    """Codes from -8 to 7, and scales that a float16 graph holds exactly."""

    @property
    def shrinks(self) -> tuple[float, ...]:
        return (8 / 7, *SHRINK)  # where the extreme is positive, its code is 7

    def storable(self, scales: np.ndarray) -> np.ndarray:
        return to_half(scales)

    def restore(self, model: ir.Model, name: str, blocks: Blocks, info: dict[str, str]) -> list[ir.Node]:
        whole = blocks.codes.astype(np.int8) - np.int8(self.middle)
        codes = initializer(model, f"{name}.int4", whole.astype(ml_dtypes.int4))
        return [_dequantize(codes, initializer(model, f"{name}.scales", blocks.scales), self.block_size, info)]


@dataclass(frozen=True)
class Float4(Signed):
    """NVFP4: E2M1 numbers in blocks of 16, whose scales are E4M3 numbers times one scale for the whole weight.

    Codes count halves, which all E2M1 numbers are multiples of: 12 stands for 0, 24 for 6. The scale of scales is a
    power of two, so that a float16 graph restores the same values.
    """

    block_size: int = 16

    @property
    def top(self) -> int:
        return 24

    @property
    def middle(self) -> int:
        return 12

    @property
    def shrinks(self) -> tuple[float, ...]:
        return (1.5, 1.25, 1.0, 0.9, 0.8)  # at 1.5 the extreme is a 4, and nothing lies in the wide gap to 6

    def nearest(self, steps: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        numbers = np.clip(steps / 2, -6, 6).astype(ml_dtypes.float4_e2m1fn)
        codes: np.ndarray = 2 * numbers.astype(np.float32) + zeros
        return codes

    def storable(self, scales: np.ndarray) -> np.ndarray:
        numbers, whole = _two_levels(2 * scales)
        stored: np.ndarray = numbers.astype(np.float32) * whole / 2
        return stored

    def restore(self, model: ir.Model, name: str, blocks: Blocks, info: dict[str, str]) -> list[ir.Node]:
        numbers = (blocks.codes.astype(np.float32) - self.middle) / 2
        codes = initializer(model, f"{name}.float4", numbers.astype(ml_dtypes.float4_e2m1fn))
        levels = zip((f"{name}.scales", f"{name}.scale"), _two_levels(2 * blocks.scales), strict=True)
        scales = ir.node("DequantizeLinear", [initializer(model, *level) for level in levels], metadata_props=info)
        return [scales, _dequantize(codes, scales.outputs[0], self.block_size, info)]


def _two_levels(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales as E4M3 numbers, and the float32 power of two that all of them are multiplied by."""
    whole = to_half(np.exp2(np.ceil(np.log2(scales.max() / FLOAT8.top))))
    return np.maximum(scales / whole, SMALLEST_FLOAT8).astype(FLOAT8.dtype), np.asarray(whole)


def _dequantize(codes: ir.Value, scales: ir.Value, block_size: int, info: dict[str, str]) -> ir.Node:
    attributes = {"axis": 0, "block_size": block_size}
    return ir.node("DequantizeLinear", [codes, scales], attributes, metadata_props=info)
