"""A score with the interval that resampling the items gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from compiler.records import Metric
from compiler.records.evaluation import COSTS
from compiler.statistics import half_of_jackknife, percentiles

RESAMPLES = 1000
SEED = 0  # the same items are drawn for every system and metric, so that their scores can be paired
DIGITS = 6  # of a draw that is kept

Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Scored:
    """A score as a function of the items it is taken over: `statistic` of their indices (n,) int64.

    `items` are the scores of single items, where these exist, and `weights` how much each counts. The interval is a
    bootstrap's, or a jackknife's where a repeated item would change the score by itself.
    """

    statistic: Statistic
    count: int
    items: tuple[float, ...] = ()
    interval: Literal["bootstrap", "jackknife"] = "bootstrap"
    weights: tuple[float, ...] = ()


def mean_of(items: Sequence[float] | np.ndarray) -> Scored:
    """The mean of the items' own scores."""
    values = np.asarray(items, np.float64)
    return Scored(lambda rows: float(values[rows].mean()), len(values), tuple(values.tolist()))


def median_of(items: Sequence[float]) -> Scored:
    """The median of the items' own scores."""
    values = np.asarray(items, np.float64)
    return Scored(lambda rows: float(np.median(values[rows])), len(values), tuple(values.tolist()))


def constant(value: float) -> Scored:
    """What was measured once, and has no spread."""
    return Scored(lambda _: value, 1)


def metric(name: str, unit: str, better: Literal["lower", "higher"], scored: Scored) -> Metric:
    """The record, with its 95 % confidence interval."""
    value = scored.statistic(np.arange(scored.count))
    draws = _draws(scored)
    low, high = _interval(scored, value, draws)
    return Metric(
        name=name,
        value=value + 0.0,  # no -0
        unit=unit,
        better=better,
        low=low + 0.0,
        high=high + 0.0,
        samples=scored.count,
        items=scored.items,
        weights=scored.weights,
        draws=() if scored.items or unit in COSTS else tuple(float(f"{draw:.{DIGITS}g}") for draw in draws),
        drawn=scored.interval,
    )


def _draws(scored: Scored) -> list[float]:
    """The score of resampled items many times, or of all items but one in turn; none of a single item."""
    count = scored.count
    if count == 1:
        return []
    if scored.interval == "jackknife":
        return [scored.statistic(np.delete(np.arange(count), row)) for row in range(count)]
    generator = np.random.default_rng(SEED)
    return [scored.statistic(generator.integers(count, size=count)) for _ in range(RESAMPLES)]


def _interval(scored: Scored, value: float, draws: Sequence[float]) -> tuple[float, float]:
    if not draws:
        return value, value
    if scored.interval == "jackknife":
        half = half_of_jackknife(draws)
        return value - half, value + half
    return percentiles(draws)
