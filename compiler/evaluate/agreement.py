"""Scores of labels: how many are right, precision and recall of every class, and whether confidence is deserved.

Everything rests on three counts for each item and class: right, wrongly given, missed.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from compiler.evaluate.scored import Scored

Part = Literal["precision", "recall", "f1"]
Average = Literal["micro", "macro"]
BINS = 15


class Counts(NamedTuple):
    """(items, classes) int64 each."""

    right: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray


def counts(
    given: Sequence[Collection[tuple[Hashable, str]]], expected: Sequence[Collection[tuple[Hashable, str]]]
) -> Counts:
    """Count what each item was given and should have been given, as pairs of a place and a class."""
    classes = sorted({each[1] for item in (*given, *expected) for each in item})
    column = {name: index for index, name in enumerate(classes)}
    found = np.zeros((3, len(given), len(classes)), np.int64)
    for row, (ours, theirs) in enumerate(zip(given, expected, strict=True)):
        mine, right = set(ours), set(theirs)
        for kind, part in enumerate((mine & right, mine - right, right - mine)):
            for _, name in part:
                found[kind, row, column[name]] += 1
    return Counts(*found)


def averaged(found: Counts, part: Part, average: Average) -> Scored:
    """Precision, recall or F1 over all decisions (micro), or its mean over the classes that occur (macro); 0/0 is 0."""

    def statistic(rows: np.ndarray) -> float:
        right, wrong, missed = (each[rows].sum(axis=0).astype(np.float64) for each in found)
        occurs = right + wrong + missed > 0
        if average == "micro":
            right, wrong, missed = (np.array([each.sum()]) for each in (right, wrong, missed))
        elif occurs.any():
            right, wrong, missed = (each[occurs] for each in (right, wrong, missed))
        match part:
            case "precision":
                above, below = right, right + wrong
            case "recall":
                above, below = right, right + missed
            case "f1":
                above, below = 2 * right, 2 * right + wrong + missed
        ratios = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        return float(ratios.mean()) if len(ratios) else 0.0

    return Scored(statistic, len(found.right))


def calibration_error(confidence: Sequence[float], correct: Sequence[bool], bins: int = BINS) -> Scored:
    """Expected calibration error: |share that is right - mean confidence| over equally wide bins, by their share."""
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)

    def statistic(rows: np.ndarray) -> float:
        gaps = np.bincount(place[rows], right[rows] - sure[rows], minlength=bins)
        return float(np.abs(gaps).sum() / len(rows))

    return Scored(statistic, len(sure))
