"""The range that activations are quantized over, chosen from a histogram that never stores them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

Method = Literal["minmax", "percentile", "entropy"]

BINS = 4096
LEVELS = 256
SHARE = 0.9999  # of all values that "percentile" keeps
CANDIDATES = 96  # clipping thresholds that "entropy" compares


class Histogram:
    """Counts of values in `BINS` equal bins over -reach .. reach; the reach doubles when a value lies outside."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.reach = 0.0
        self.counts = np.zeros(BINS, dtype=np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count an array of any shape; zeros, which every range renders exactly, and NaN and infinity are left out."""
        values = values[np.isfinite(values) & (values != 0)]
        if not values.size:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        largest = max(-self.low, self.high)
        if self.reach == 0.0:
            self.reach = float(2.0 ** np.ceil(np.log2(largest)))
        while self.reach < largest:
            self.counts = np.pad(self.counts.reshape(-1, 2).sum(axis=1), BINS // 4)
            self.reach *= 2
        bins = ((values.ravel() + self.reach) * (BINS / 2 / self.reach)).astype(np.int64)
        self.counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    @property
    def edges(self) -> np.ndarray:
        """(BINS + 1,) float64."""
        return np.linspace(-self.reach, self.reach, BINS + 1)


def choose(histogram: Histogram, method: Method) -> tuple[float, float]:
    """(low, high), with 0 inside, that the values are clipped to before they are quantized."""
    low, high = METHODS[method](histogram)
    return min(low, 0.0), max(high, 0.0)


def _minmax(histogram: Histogram) -> tuple[float, float]:
    """Everything that was seen."""
    return (histogram.low, histogram.high) if histogram.counts.any() else (0.0, 0.0)


def _percentile(histogram: Histogram) -> tuple[float, float]:
    """The middle `SHARE` of the values."""
    below = np.cumsum(histogram.counts)
    outside = (1 - SHARE) / 2 * below[-1]
    first = int(np.searchsorted(below, outside, side="right"))
    last = int(np.searchsorted(below, below[-1] - outside, side="left"))
    edges, (low, high) = histogram.edges, _minmax(histogram)
    return max(low, edges[min(first, BINS - 1)]), min(high, edges[min(last, BINS - 1) + 1])


def _entropy(histogram: Histogram) -> tuple[float, float]:
    """The threshold whose clipped and quantized distribution diverges least from the original (Kullback-Leibler)."""
    low, high = _minmax(histogram)
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return low, high
    width = 2 * histogram.reach / BINS
    furthest = int(np.ceil(max(-low, high) / width))
    nearest = min(LEVELS // 2, furthest)
    counts = histogram.counts.copy()
    counts[BINS // 2] = (
        0  # zero has a code of its own on any scale; counted, a spike there (ReLU) would narrow the range
    )
    best = (np.inf, low, high)
    for threshold in np.unique(np.linspace(nearest, furthest, CANDIDATES).astype(int))[::-1]:
        inside = max(low, -threshold * width), min(high, threshold * width)
        first = int(np.floor((inside[0] + histogram.reach) / width))
        stop = min(BINS, int(np.ceil((inside[1] + histogram.reach) / width)))
        divergence = _divergence(histogram.counts, first, stop)
        if divergence < best[0]:
            best = divergence, *inside
    return best[1:]


def _divergence(counts: np.ndarray, first: int, stop: int) -> float:
    """KL divergence of the counts, clipped into bins first .. stop - 1, from their rendering in `LEVELS` steps."""
    kept = counts[first:stop].astype(np.float64)
    clipped = kept.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[stop:].sum()
    level = np.arange(len(kept)) * LEVELS // max(len(kept), LEVELS)
    occupied = clipped > 0
    total = np.bincount(level, kept)
    cells = np.bincount(level, occupied)
    rendered = np.where(occupied, (total / np.maximum(cells, 1))[level], 0)
    if not rendered.sum():
        return np.inf
    p, q = clipped[occupied] / clipped.sum(), rendered[occupied] / rendered.sum()
    return float((p * np.log(p / np.maximum(q, 1e-12))).sum())


METHODS: dict[Method, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "entropy": _entropy,
}
