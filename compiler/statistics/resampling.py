"""How sure a value is that was made of rounds or items: bootstrap and jackknife."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compiler.statistics.quantiles import NORMAL, POCOCK, student

RESAMPLES = 2000
SEED = 0  # the same samples always give the same interval

Rounds = Sequence[Sequence[float]]


class Estimate(NamedTuple):
    value: float
    low: float
    high: float


def ratio_of_rounds(numerator: Rounds, denominator: Rounds, *, paired: bool, looks: int = 1) -> Estimate:
    """The ratio of medians, round by round, and its bootstrap interval over rounds.

    Samples of one round share what the machine and the process did just then, so that whole rounds are resampled, and
    the percentiles are widened as Student's t is over the normal for so few. A round counts by its median, rounds by
    the Hodges-Lehmann estimate of their logarithms: one disturbed round moves neither much.

    Args:
        numerator: samples of each round.
        denominator: the same.
        paired: the k-th rounds of both were measured in turns, and are resampled together.
        looks: how often it is asked at most while rounds are added; all of these intervals hold it in 95 of 100 cases.

    Raises:
        ValueError: fewer than two rounds, or paired ones of unequal number.
    """
    above, below = (np.log([np.median(samples) for samples in rounds]) for rounds in (numerator, denominator))
    if min(len(above), len(below)) < 2 or (paired and len(above) != len(below)):
        raise ValueError("an interval needs two rounds of each, and as many of both where they are paired")
    generator = np.random.default_rng(SEED)
    picks = generator.integers(len(above), size=(RESAMPLES, len(above)))
    if paired:
        value = float(_centre((above - below)[None])[0])
        resampled = _centre((above - below)[picks])
        freedom, count = len(above) - 1, len(above)
    else:
        others = generator.integers(len(below), size=(RESAMPLES, len(below)))
        value = float(_shift(above[None], below[None])[0])
        resampled = _shift(above[picks], below[others])
        freedom, count = len(above) + len(below) - 2, min(len(above), len(below))
    low, high = percentiles(resampled)
    wider: float = student(freedom) / NORMAL * (count / (count - 1)) ** 0.5
    wider *= POCOCK[min(looks, len(POCOCK)) - 1] / NORMAL
    ends = (value, value + wider * min(low - value, 0.0), value + wider * max(high - value, 0.0))
    return Estimate(*(float(np.exp(each)) for each in ends))


def percentiles(draws: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The ends of the interval from values of resampled data (percentile bootstrap)."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)


def half_of_jackknife(draws: Sequence[float] | np.ndarray) -> float:
    """Half of the interval's width, from values of the data without one item in turn (jackknife)."""
    values = np.asarray(draws, float)
    count = len(values)
    return NORMAL * float(np.sqrt((count - 1) / count * np.sum((values - values.mean()) ** 2)))


def mean_difference(
    after: Sequence[float], before: Sequence[float], weights: Sequence[float] | None = None
) -> Estimate:
    """Mean of the items' differences and its interval: items are resampled with both their scores and their weight."""
    differences, counts = np.asarray(after, float) - np.asarray(before, float), np.ones(len(after))
    if weights:
        counts = np.asarray(weights, float)
    generator = np.random.default_rng(SEED)
    count = len(differences)
    drawn = (generator.integers(count, size=count) for _ in range(RESAMPLES))
    means = [(differences[rows] * counts[rows]).sum() / max(counts[rows].sum(), 1) for rows in drawn]
    low, high = percentiles(means)
    return Estimate(float(np.average(differences, weights=counts)), low, high)


def difference_of_draws(
    value: float, after: Sequence[float], before: Sequence[float], *, left_out: bool = False
) -> Estimate:
    """A difference with its interval from scores of the same resampled items.

    Args:
        value: of all items.
        left_out: the scores are of all items but one in turn (jackknife), else of items that were drawn (bootstrap).
    """
    differences = np.asarray(after, float) - np.asarray(before, float)
    if left_out:
        half = half_of_jackknife(differences)
        return Estimate(value, value - half, value + half)
    low, high = percentiles(differences)
    return Estimate(value, min(low, value), max(high, value))


def _centre(rows: np.ndarray) -> np.ndarray:
    """Hodges-Lehmann: for each row (rows, n) the median of the means of all pairs, each with itself too."""
    first, second = np.triu_indices(rows.shape[1])
    centres: np.ndarray = np.median((rows[:, first] + rows[:, second]) / 2, axis=1)
    return centres


def _shift(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Hodges-Lehmann for two samples: the median of all differences, row by row."""
    differences = (above[:, :, None] - below[:, None, :]).reshape(len(above), -1)
    shifts: np.ndarray = np.median(differences, axis=1)
    return shifts
