"""How far the reference's own answers move when nothing that matters changes: float32 beside float64, feed by feed.

Both read the same feed, so what padding does to a model's answers is no part of it. Where PyTorch gives no finite
answers in float64, float32 is compared with itself, its sums taken in other orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.check.compare import max_abs_error
from compiler.records import NoiseSource

if TYPE_CHECKING:
    from compiler.check.references import OpenReference, ReferenceModel

CLASSES = 3  # answers at least this wide vary along their last axis

Answers = Sequence[np.ndarray]


@dataclass(frozen=True)
class Noise:
    """Attributes are in the unit of the answers.

    Attributes:
        error: the largest absolute difference that is the reference's own.
        spread: the standard deviation of the reference's answers.
        rounding: the least error that a float32 answer of this size can have.
        source: what the error was found by.
    """

    error: float
    spread: float = math.inf
    rounding: float = 0.0
    source: NoiseSource = "float64"

    def beside(self, more: float) -> Noise:
        """The same with another difference of the reference's from itself, if that is larger."""
        return replace(self, error=max(self.error, more))

    def at_least(self, other: Noise) -> Noise:
        """The same, error and spread no less than those of more answers: a single one may err by nothing by chance."""
        return replace(self, error=max(self.error, other.error), spread=max(self.spread, other.spread))


def exactly(open_reference: OpenReference, ask: Callable[[ReferenceModel], Answers]) -> tuple[Answers, NoiseSource]:
    """Answers in float64, or in float32 with its sums in another order where those fail or are not finite.

    Code that answers in float32 whatever its weights are in may have computed in it as well, and says nothing of noise.
    """
    try:
        with closing(open_reference("float64")) as reference:
            answers = ask(reference)
    except Exception:  # noqa: BLE001 - modeling code that mixes precisions raises many kinds; float32 then has its say
        answers = ()
    if answers and all(each.dtype == np.float64 and np.isfinite(each).all() for each in answers):
        return answers, "float64"
    with closing(open_reference("reordered")) as reference:
        return ask(reference), "reorderings"


def noise(expected: Answers, exact: Answers, source: NoiseSource) -> Noise:
    """Of the reference's float32 answers, and the same from `exactly`."""
    largest = max(float(np.max(np.abs(each), initial=0.0)) for each in expected)
    rounding = float(np.finfo(np.float32).eps) * largest
    error = max(max_abs_error(a, b) for a, b in zip(expected, exact, strict=True))
    return Noise(error=max(error, rounding), spread=spread(expected), rounding=rounding, source=source)


def spread(answers: Answers) -> float:
    """Standard deviation of the numbers of an answer around their mean, its last axis; of all numbers if it is short.

    Logits mean the same whatever is added to all of a row, so what rows differ by in the mean is no spread.
    """
    if answers[0].shape[-1] < CLASSES:
        return float(np.std(np.concatenate([each.reshape(-1) for each in answers]), dtype=np.float64))
    variances = [np.var(each, axis=-1, dtype=np.float64).reshape(-1) for each in answers]
    return float(np.sqrt(np.concatenate(variances).mean()))
