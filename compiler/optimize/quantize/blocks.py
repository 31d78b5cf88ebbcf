"""Block-wise integer grids for weights: choosing scales and zero points, rounding onto them, and back.

A weight is (K, N), as MatMul takes it. Every column is cut along K into blocks of `block_size`; a block's values are
`scale * (code - zero)` with `bits`-bit unsigned codes. Blocks at the end of K are padded with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.72)
BYTES = (1.0, 128 / 127)  # the second has no use for one code, as most formats of 8 bits
EMPTY = np.float32(2.0**-14)  # the scale of a block of zeros: any would do, but a large one coarsens scales of scales
CHUNK = 1 << 18  # elements searched at a time: what stays in a core's cache


@dataclass(frozen=True)
class Layout:
    """How a weight is cut and coded."""

    bits: int
    block_size: int
    symmetric: bool

    @property
    def top(self) -> int:
        return int(2**self.bits) - 1

    @property
    def middle(self) -> int:
        return int(2 ** (self.bits - 1))

    @property
    def shrinks(self) -> tuple[float, ...]:
        """Parts of a block's range that `fit` tries to spread the codes over."""
        return SHRINK if self.bits == 4 else BYTES

    @property
    def grids(self) -> list[tuple[float, bool]]:
        """Those parts, and whether the grid of each is symmetric: one always is, as many stored weights lie on it."""
        return [(shrink, self.symmetric) for shrink in self.shrinks] + ([] if self.symmetric else [(1.0, True)])

    def spread(self, extreme: np.ndarray, shrink: float) -> np.ndarray:
        """The scale that brings `extreme`, the value furthest from zero, to the outermost code of a symmetric grid."""
        scale: np.ndarray = extreme * np.float32(-shrink / self.middle)
        return scale

    def nearest(self, steps: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        """The codes, as float32, of values that are given in multiples of their scale."""
        codes: np.ndarray = np.clip(np.rint(steps) + zeros, 0, self.top)
        return codes

    def storable(self, scales: np.ndarray) -> np.ndarray:
        """The nearest scales that can be stored."""
        return scales


def fine_layout(rows: int) -> Layout:
    """8 bits, in blocks of 32; of 16 where only those divide K evenly, as embedding lookups need it."""
    return Layout(8, 16 if rows % 32 and not rows % 16 else 32, symmetric=True)


@dataclass(frozen=True)
class Blocks:
    """A quantized weight of `rows` x N.

    `codes` is (blocks * block_size, N) uint8, `scales` (blocks, N) float32, `zeros` (blocks, N) uint8.
    """

    layout: Layout
    rows: int
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray

    def dequantize(self) -> np.ndarray:
        """(rows, N) float32."""
        codes = self.codes.reshape(len(self.scales), self.layout.block_size, -1).astype(np.float32)
        values: np.ndarray = (codes - self.zeros[:, None]) * self.scales[:, None]
        whole: np.ndarray = values.reshape(self.codes.shape)
        return whole[: self.rows]


def cut(weight: np.ndarray, block_size: int) -> np.ndarray:
    """(K, N) to (blocks, block_size, N), padded with zeros."""
    padding = -len(weight) % block_size
    padded = np.pad(weight, ((0, padding), (0, 0))) if padding else weight
    return padded.reshape(-1, block_size, weight.shape[1])


def fit(weight: np.ndarray, layout: Layout, importance: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scales (blocks, N) float32 and zero points (blocks, N) uint8 with the least squared rounding error.

    The range of every block is shrunk step by step, since clipping its extremes often costs less than coarser steps
    for the rest; the best candidate's scale is then solved for by least squares.

    Args:
        weight: (K, N) float32.
        layout: the grid.
        importance: (K,) non-negative weight of each row's error, such as the mean square of its activation.
    """
    importance = np.ones(len(weight), np.float32) if importance is None else importance.astype(np.float32)
    values, weights = cut(weight, layout.block_size), cut(importance[:, None], layout.block_size)
    scales = np.empty((len(values), values.shape[2]), np.float32)
    zeros = np.empty(scales.shape, np.uint8)
    width = max(1, CHUNK // layout.block_size)
    for block, (rows, row_weights) in enumerate(zip(values, weights, strict=True)):
        for start in range(0, rows.shape[1], width):
            part = slice(start, start + width)
            scales[block, part], zeros[block, part] = _fit_block(rows[:, part], row_weights, layout)
    return layout.storable(scales), zeros


def _fit_block(values: np.ndarray, weights: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of every column of one block (block_size, n)."""
    low, high = np.minimum(values.min(0), 0), np.maximum(values.max(0), 0)
    least = np.full(values.shape[1], np.inf, np.float32)
    best = np.ones(values.shape[1], np.float32)
    best_zero = np.zeros(values.shape[1], np.float32)
    for shrink, symmetric in layout.grids:
        if symmetric:
            extreme = np.where(-low >= high, low, high)
            scale = layout.spread(extreme, shrink)
            zero = np.full_like(scale, layout.middle)
        else:
            scale = (high - low) * np.float32(shrink / layout.top)
            zero = np.clip(np.rint(-low * shrink / np.where(scale == 0, 1, scale)), 0, layout.top)
        scale = np.where(scale == 0, EMPTY, scale)
        steps = layout.nearest(values / scale, zero) - zero
        weighted = steps * weights
        power = (weighted * steps).sum(0)
        solved = np.where(power > 0, (weighted * values).sum(0) / np.where(power > 0, power, 1), scale)
        error = (weights * (values - steps * solved) ** 2).sum(0)
        better = error < least
        least, best, best_zero = (
            np.where(better, new, old) for new, old in ((error, least), (solved, best), (zero, best_zero))
        )
    return best, best_zero.astype(np.uint8)


def round_nearest(weight: np.ndarray, scales: np.ndarray, zeros: np.ndarray, layout: Layout) -> Blocks:
    """Every value to the nearest code."""
    values = cut(weight, layout.block_size)
    codes = layout.nearest(values / scales[:, None], zeros[:, None]).astype(np.uint8)
    return Blocks(layout, len(weight), codes.reshape(-1, weight.shape[1]), scales, zeros)


def round_compensated(
    weight: np.ndarray, scales: np.ndarray, zeros: np.ndarray, layout: Layout, moments: np.ndarray
) -> Blocks:
    """Round row by row, moving each row's rounding error onto the rows not yet rounded (GPTQ, arXiv:2210.17323).

    Rows with the largest activations go first, while there is most left to make up for them.

    Args:
        weight: (K, N) float32.
        scales: (blocks, N), as `fit` gives them.
        zeros: (blocks, N).
        layout: the grid.
        moments: (K, K) float32, the activations' second moments, sum of x x^T.
    """
    order = np.argsort(-np.diag(moments), kind="stable")
    spread = _compensation(moments[np.ix_(order, order)])
    rest = weight[order].astype(np.float32)
    codes = np.broadcast_to(zeros[:, None], (len(zeros), layout.block_size, zeros.shape[1])).reshape(-1, zeros.shape[1])
    codes = codes.copy()
    panel = 32
    for start in range(0, len(rest), panel):
        stop = min(start + panel, len(rest))
        errors = np.empty((stop - start, rest.shape[1]), np.float32)
        for row in range(start, stop):
            block = order[row] // layout.block_size
            scale, zero = scales[block], zeros[block]
            code = layout.nearest(rest[row] / scale, zero)
            codes[order[row]] = code
            error = (rest[row] - (code - zero) * scale) / spread[row, row]
            errors[row - start] = error
            rest[row + 1 : stop] -= spread[row, row + 1 : stop, None] * error
        rest[stop:] -= spread[start:stop, stop:].T @ errors
    return Blocks(layout, len(weight), codes, scales, zeros)


def _compensation(moments: np.ndarray, damping: float = 0.01) -> np.ndarray:
    """The upper triangular R with R^T R = inverse of the damped moments, (K, K) float32."""
    diagonal = np.diag(moments).astype(np.float64)
    damped = moments + np.diag(np.where(diagonal == 0, 1.0, 0.0) + damping * diagonal.mean())
    upper = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    return _inverse_of_triangle(upper.astype(np.float32))


def _inverse_of_triangle(upper: np.ndarray) -> np.ndarray:
    """Of an upper triangular matrix, by halves: nearly all of it is matrix products."""
    size = len(upper)
    if size <= 64:
        return np.triu(np.linalg.inv(upper))
    half = size // 2
    inverse = np.zeros_like(upper)
    inverse[:half, :half] = first = _inverse_of_triangle(upper[:half, :half])
    inverse[half:, half:] = last = _inverse_of_triangle(upper[half:, half:])
    inverse[:half, half:] = -first @ (upper[:half, half:] @ last)
    return inverse
