"""Two arrays side by side: what makes them incomparable, and how far apart they are. Nothing here knows a model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compiler.records import Finding
from compiler.records.findings import finding

INCOMPARABLE = ("output.shape", "output.dtype", "output.nan", "output.inf")  # in the order they are looked for

ROWS_AT_ONCE = 64  # of logits (rows, vocabulary) held in float64 at a time


def incomparable(actual: np.ndarray, expected: np.ndarray) -> Finding | None:
    """Why no difference may be taken, as a failed finding, or None.

    The shape comes first, then the dtype, then NaN and Inf: a later one means nothing while an earlier one is wrong.
    """
    shape, dtype, nan, inf = INCOMPARABLE
    if actual.shape != expected.shape:
        return finding(shape, 1, 1, limit=0.0, basis=f"{actual.shape} instead of {expected.shape}")
    if actual.dtype != expected.dtype:
        return finding(dtype, 1, 1, limit=0.0, basis=f"{actual.dtype} instead of {expected.dtype}")
    for name, count in ((nan, np.isnan(actual).sum()), (inf, np.isinf(actual).sum())):
        if count:
            return finding(name, int(count), actual.size, limit=0.0, basis="none allowed")
    return None


class IncomparableError(Exception):
    """Outputs between which no difference may be taken; its argument is the finding that says why."""


def require_comparable(actual: np.ndarray, expected: np.ndarray) -> None:
    """Raises IncomparableError with what `incomparable` finds."""
    if failed := incomparable(actual, expected):
        raise IncomparableError(failed)


def max_abs_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(actual - expected), initial=0.0))


def cosine(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Cosine of the angle between vectors along the last axis: (..., hidden) twice -> (...) float64.

    Two zero vectors are equal (1); a zero vector and another one are not (0).
    """
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    both_zero = ~a.any(axis=-1) & ~b.any(axis=-1)
    cosines: np.ndarray = np.where(lengths > 0, (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1.0), both_zero)
    return cosines


class Scores(NamedTuple):
    """What two sets of logits say at the same positions, one row each.

    Attributes:
        agree: (rows,) bool, the same most likely class.
        gap: (rows,) float64, by how many logits the reference prefers its own choice to the other's.
        kl: (rows,) float64, KL divergence of the other from the reference, nats.
        nll: (rows,) float64, negative log-likelihood of the target, nats; zeros without targets.
        reference_nll: (rows,) float64, the same under the reference.
    """

    agree: np.ndarray
    gap: np.ndarray
    kl: np.ndarray
    nll: np.ndarray
    reference_nll: np.ndarray


def scores(actual: np.ndarray, expected: np.ndarray, targets: np.ndarray | None = None) -> Scores:
    """Compare logits row by row.

    Args:
        actual, expected: (rows, classes) float.
        targets: (rows,) int64, the class that really followed.
    """
    parts = []
    for start in range(0, len(actual), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        parts.append(_scores(actual[rows], expected[rows], None if targets is None else targets[rows]))
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _scores(actual: np.ndarray, expected: np.ndarray, targets: np.ndarray | None) -> Scores:
    choice, best = actual.argmax(axis=-1), expected.argmax(axis=-1)
    p, q = _log_softmax(expected), _log_softmax(actual)
    every = np.arange(len(actual))
    kl = np.maximum((np.exp(p) * (p - q)).sum(axis=-1), 0.0)
    if targets is None:
        nll = reference_nll = np.zeros(len(actual))
    else:
        nll, reference_nll = -q[every, targets], -p[every, targets]
    return Scores(choice == best, p[every, best] - p[every, choice], kl, nll, reference_nll)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normalized: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalized
