"""SmoothQuant (arXiv:2211.10438): outliers sit in a few channels of an activation, and weights can take them over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from compiler.optimize.passes.base import Feeds

STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9)  # at 0.5 a channel and the weights that read it are equally large, at 1 all are


class Channels:
    """Of each channel of an activation (..., K): the `largest` magnitude that was seen, and the mean `power`."""

    def __init__(self, width: int) -> None:
        self.largest = np.zeros(width, np.float32)
        self._squares, self._count = np.zeros(width), 0

    def add(self, values: np.ndarray) -> None:
        rows = values.reshape(-1, values.shape[-1])
        self.largest = np.maximum(self.largest, np.abs(rows).max(axis=0, initial=0))
        self._squares += np.square(rows).sum(axis=0)
        self._count += len(rows)

    @property
    def power(self) -> np.ndarray:
        return self._squares / max(self._count, 1)


def channels(observed: Iterable[Feeds]) -> dict[str, Channels]:
    """Of each observed value."""
    found: dict[str, Channels] = {}
    for arrays in observed:
        for name, array in arrays.items():
            found.setdefault(name, Channels(array.shape[-1])).add(array)
    return found


def smooth(activation: Channels, weights: Sequence[np.ndarray]) -> np.ndarray | None:
    """What each channel is multiplied by, and the rows of the weights (K, N) that read it are divided by: (K,) float32.

    Of several strengths it is the one with the least error to be expected of int8 products, and None where that is
    more than without. Channels that were never seen to move keep their size.
    """
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    moving = (activation.largest > 0) & (rows > 0)
    size, weight = np.log2(activation.largest[moving]), np.log2(rows[moving])
    if not moving.any():
        return None
    least, best = _expected_error(activation, weights, np.ones(len(rows), np.float32)), None
    for strength in STRENGTHS:
        exponents = np.zeros(len(rows))
        exponents[moving] = (1 - strength) * weight - strength * size
        exponents[moving] -= exponents[moving].mean()
        factors = np.exp2(exponents).astype(np.float32)
        if (error := _expected_error(activation, weights, factors)) < least:
            least, best = error, factors
    return best


def _expected_error(activation: Channels, weights: Sequence[np.ndarray], factors: np.ndarray) -> float:
    """Variance of the products, up to a constant, if roundings are independent and spread evenly over a step."""
    step = (activation.largest * factors).max()
    power = (activation.power * factors**2).sum()
    error = 0.0
    for weight in weights:
        divided = weight / factors[:, None]
        error += float(step**2 * np.square(divided).sum() + power * np.square(np.abs(divided).max(axis=0)).sum())
    return error
