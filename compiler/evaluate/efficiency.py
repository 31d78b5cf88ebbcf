"""What answers cost: time for one, how many a second, memory and size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.evaluate.evidence import Evidence, Timed
from compiler.evaluate.scored import Scored, constant, median_of


def latency(evidence: Evidence) -> Scored:
    """Median milliseconds for an answer to one item alone."""
    return median_of([1000 * seconds for seconds in evidence.single_seconds])


def throughput(evidence: Evidence) -> Scored:
    """Items a second, batched."""
    return _rate(evidence.answering, [part.amount for part in evidence.answering])


def tokens_per_second(evidence: Evidence) -> Scored:
    """Tokens a second while answering: generated ones, or those an encoder reads."""
    return _rate(evidence.answering, [part.tokens for part in evidence.answering])


def scored_tokens_per_second(evidence: Evidence) -> Scored:
    """Tokens a second whose probability is taken."""
    return _rate(evidence.reading_times, [part.tokens for part in evidence.reading_times])


def memory(evidence: Evidence) -> Scored:
    """Bytes."""
    return constant(float(evidence.system.peak_memory_bytes()))


def size(evidence: Evidence) -> Scored:
    """Bytes."""
    return constant(float(evidence.system.disk_bytes()))


def _rate(parts: Sequence[Timed], amounts: Sequence[int]) -> Scored:
    done, seconds = np.array(amounts, np.float64), np.array([part.seconds for part in parts])
    return Scored(lambda rows: float(done[rows].sum() / seconds[rows].sum()), len(parts))
