"""How sure a change is: 95 % confidence intervals and tests for what was measured by rounds or by items."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
SEED = 0  # the same samples always give the same interval
Z = 1.959964

# Student's t at 97.5 % for 1, 2, ... degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)

# Pocock's constant in place of Z where data are looked at 1, 2, ... times while they come in.
_POCOCK = (Z, 2.178, 2.289, 2.361, 2.413, 2.453, 2.485, 2.512)

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
    low, high = np.percentile(resampled, (2.5, 97.5))
    wider: float = student(freedom) / Z * (count / (count - 1)) ** 0.5
    wider *= _POCOCK[min(looks, len(_POCOCK)) - 1] / Z
    ends = (value, value + wider * min(low - value, 0.0), value + wider * max(high - value, 0.0))
    return Estimate(*(float(np.exp(each)) for each in ends))


def student(freedom: int) -> float:
    """Student's t at 97.5 %."""
    return _T[freedom - 1] if freedom <= len(_T) else Z + 2.4 / freedom


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p that as many items went from right to wrong (`lost`) and back (`won`) by chance."""
    trials = lost + won
    ways = tail = 1  # to choose 0 of the trials, 1, 2, ...; and their sum
    for count in range(min(lost, won)):
        ways = ways * (trials - count) // (count + 1)
        tail += ways
    return float(min(Fraction(1), Fraction(2 * tail, 2**trials)))


def difference_of_shares(lost: int, won: int, items: int) -> Estimate:
    """(won - lost) / items and its interval, by Wald's formula with half an item added to each of the four cells."""
    value = (won - lost) / items
    total, up, down = items + 2, won + 0.5, lost + 0.5
    centre = (up - down) / total
    half = Z * max(up + down - (up - down) ** 2 / total, 0.0) ** 0.5 / total
    return Estimate(value, min(centre - half, value), max(centre + half, value))


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
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(np.average(differences, weights=counts)), float(low), float(high))


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
        count = len(differences)
        half = Z * float(np.sqrt((count - 1) / count * np.sum((differences - differences.mean()) ** 2)))
        return Estimate(value, value - half, value + half)
    low, high = np.percentile(differences, (2.5, 97.5))
    return Estimate(value, min(float(low), value), max(float(high), value))


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
