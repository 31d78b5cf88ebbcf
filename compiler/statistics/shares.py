"""How sure a share of items is, and a change of it."""

from __future__ import annotations

from fractions import Fraction

from compiler.statistics.quantiles import NORMAL
from compiler.statistics.resampling import Estimate


def interval(successes: float, samples: int) -> tuple[float, float]:
    """Of a share of independent samples, its interval (Wilson's score interval); half a success is a tie.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22 (1927), 209-212.
    Raises ValueError without samples.
    """
    if samples < 1:
        raise ValueError("no samples to count")
    share, square = successes / samples, NORMAL**2 / samples
    middle = (share + square / 2) / (1 + square)
    half = NORMAL / (1 + square) * (share * (1 - share) / samples + square / (4 * samples)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


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
    half = NORMAL * max(up + down - (up - down) ** 2 / total, 0.0) ** 0.5 / total
    return Estimate(value, min(centre - half, value), max(centre + half, value))
