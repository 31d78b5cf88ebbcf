"""SmoothQuant (arXiv:2211.10438): outliers sit in a few channels of an activation, and weights can take them over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from compiler.optimize.passes.base import Feeds

# At 0.5 a channel and the weights that read it are equally large, at 1 all channels are.
STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9)
GENTLE = (0.3, 0.4, 0.5)  # where rows have scales of their own: stronger ones fit the calibration texts only
ROWS = 256  # of an activation, kept to see how their largest values change
WORTH = 0.8  # of the error may be left where rows have scales of their own: the multiplication itself costs time


class Channels:
    """Of each channel of an activation (..., K): the `largest` magnitude that was seen, and the mean `power`.

    `rows` (at most `ROWS`, K) are some that were seen, `most` from each array.
    """

    def __init__(self, width: int, most: int = ROWS) -> None:
        self.largest = np.zeros(width, np.float32)
        self.rows = np.zeros((0, width), np.float32)
        self._most = most
        self._squares, self._count = np.zeros(width), 0

    def add(self, values: np.ndarray) -> None:
        rows = values.reshape(-1, values.shape[-1])
        self.largest = np.maximum(self.largest, np.abs(rows).max(axis=0, initial=0))
        self._squares += np.square(rows).sum(axis=0)
        self._count += len(rows)
        spread = rows[:: max(1, -(-len(rows) // self._most))]
        self.rows = np.concatenate([self.rows, spread])[:ROWS]

    @property
    def power(self) -> np.ndarray:
        return self._squares / max(self._count, 1)


def channels(observed: Iterable[Feeds], batches: int = 1) -> dict[str, Channels]:
    """Of each observed value; `batches` is how many arrays will be seen of it."""
    found: dict[str, Channels] = {}
    most = max(1, ROWS // max(batches, 1))
    for arrays in observed:
        for name, array in arrays.items():
            found.setdefault(name, Channels(array.shape[-1], most)).add(array)
    return found


def smooth(
    activation: Channels, weights: Sequence[np.ndarray], *, top: int = 127, per_row: bool = False
) -> np.ndarray | None:
    """What each channel is multiplied by, and the rows of the weights (K, N) that read it are divided by: (K,) float32.

    Of several strengths it is the one with the least error to be expected of int8 products, and None where that is
    more than without. Channels that were never seen to move keep their size.

    Args:
        activation: what was seen of it.
        weights: those that read it.
        top: the largest code of a weight.
        per_row: whether each row of the activation has a scale of its own.
    """
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    moving = (activation.largest > 0) & (rows > 0)
    size, weight = np.log2(activation.largest[moving]), np.log2(rows[moving])
    if not moving.any():
        return None
    unchanged = _expected_error(activation, weights, np.ones(len(rows), np.float32), top=top, per_row=per_row)
    least, best = unchanged * (WORTH if per_row else 1), None
    for strength in GENTLE if per_row else STRENGTHS:
        exponents = np.zeros(len(rows))
        exponents[moving] = (1 - strength) * weight - strength * size
        exponents[moving] -= exponents[moving].mean()
        factors = np.exp2(exponents).astype(np.float32)
        if (error := _expected_error(activation, weights, factors, top=top, per_row=per_row)) < least:
            least, best = error, factors
    return best


def _expected_error(
    activation: Channels, weights: Sequence[np.ndarray], factors: np.ndarray, *, top: int, per_row: bool
) -> float:
    """Variance of the products, up to a constant, if roundings are independent and spread evenly over a step."""
    sizes = np.abs(activation.rows if per_row else activation.largest[None]) * factors
    steps = np.square(sizes.max(axis=1)).mean() / 127**2
    power = (activation.power * factors**2).sum()
    error = 0.0
    for weight in weights:
        divided = weight / factors[:, None]
        error += float(steps * np.square(divided).sum() + power / top**2 * np.square(np.abs(divided).max(axis=0)).sum())
    return error
