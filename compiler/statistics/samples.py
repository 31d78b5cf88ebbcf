"""What raw samples say: location, spread, tails, and how sure a ratio of two medians is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compiler.statistics.resampling import RESAMPLES, SEED, percentiles


class Summary(NamedTuple):
    """Of `n` samples, in their unit. `iqr` is the distance between the quartiles."""

    n: int
    median: float
    p90: float
    p99: float
    iqr: float


class Ratio(NamedTuple):
    """A ratio of medians and its 95 % bootstrap confidence interval."""

    value: float
    low: float
    high: float


def summarize(samples: Sequence[float]) -> Summary:
    """Quantiles by linear interpolation. Raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples to summarize")
    q25, median, q75, p90, p99 = (float(value) for value in np.percentile(samples, (25, 50, 75, 90, 99)))
    return Summary(n=len(samples), median=median, p90=p90, p99=p99, iqr=q75 - q25)


def drift(samples: Sequence[float]) -> float:
    """By what share of it the median of the first half the second half's is above or below. Needs two samples."""
    half = len(samples) // 2
    first, second = float(np.median(samples[:half])), float(np.median(samples[half:]))
    return (second - first) / min(first, second)


def ratio_of_medians(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """median(numerator) / median(denominator); both are resampled independently (percentile bootstrap)."""
    generator = np.random.default_rng(SEED)
    above, below = (_resampled_medians(samples, generator) for samples in (numerator, denominator))
    low, high = percentiles(above / below)
    return Ratio(value=float(np.median(numerator) / np.median(denominator)), low=low, high=high)


def _resampled_medians(samples: Sequence[float], generator: np.random.Generator) -> np.ndarray:
    drawn = generator.choice(np.asarray(samples), size=(RESAMPLES, len(samples)))
    medians: np.ndarray = np.median(drawn, axis=1)
    return medians
