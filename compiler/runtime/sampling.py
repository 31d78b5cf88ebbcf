"""Choose the next token from logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from compiler.errors import EngineError, InputError
from compiler.runtime.inputs import shown


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 leave nothing out."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    min_p: float = 0.0

    def __post_init__(self) -> None:
        for name, value, valid, expected in (
            ("temperature", self.temperature, _number(self.temperature) and self.temperature >= 0, "0 or more"),
            ("top_p", self.top_p, _number(self.top_p) and 0 < self.top_p <= 1, "more than 0, at most 1"),
            ("top_k", self.top_k, _whole(self.top_k), "a whole number, 0 or more"),
            ("min_p", self.min_p, _number(self.min_p) and 0 <= self.min_p <= 1, "0 to 1"),
            ("seed", self.seed, self.seed is None or _whole(self.seed), "a whole number, 0 or more, or None"),
        ):
            if not valid:
                raise InputError(f"{name} is out of range", found=shown(value), expected=expected)


class Sampler:
    """Draws the tokens of one row. Its random numbers depend on (seed, row) alone, never on other rows."""

    def __init__(self, sampling: Sampling, row: int) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(None if sampling.seed is None else [sampling.seed, row])

    def __call__(self, logits: np.ndarray) -> int:
        """A token for logits (vocabulary,) float32.

        Raises:
            EngineError: the model computed NaN or infinity.
            InputError: rules have forbidden every token.
        """
        best = int(logits.argmax())
        if np.isneginf(logits[best]):
            raise InputError("no token is left to choose", action="loosen no_repeat_ngram_size, or leave it out")
        require_numbers(logits[best])
        if self._sampling.temperature == 0:
            return best
        tokens, scores = self._candidates(logits)
        weights = scores.astype(np.float64)
        weights -= logits[best]
        with np.errstate(over="ignore", under="ignore"):
            weights /= self._sampling.temperature
            np.exp(weights, out=weights)
        if self._sampling.top_p < 1:
            tokens, weights = _nucleus(tokens, weights, self._sampling.top_p)
        if self._sampling.min_p > 0:
            kept = weights >= self._sampling.min_p * weights.max()
            tokens, weights = tokens[kept], weights[kept]
        steps = np.cumsum(weights)
        drawn = np.searchsorted(steps, self._random.random() * steps[-1], side="right")
        return int(tokens[min(drawn, tokens.size - 1)])

    def _candidates(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The `top_k` best tokens in the vocabulary's order, and their logits."""
        if not 0 < self._sampling.top_k < logits.size:
            return np.arange(logits.size), logits
        tokens = np.sort(np.argpartition(logits, -self._sampling.top_k)[-self._sampling.top_k :])
        return tokens, logits[tokens]


def require_numbers(largest: np.ndarray | np.floating) -> None:
    """Raise EngineError where the largest logit of a row is NaN or infinite."""
    if not np.isfinite(largest).all():
        raise EngineError("the model computed a logit that is not a number", found=str(largest))


def _nucleus(tokens: np.ndarray, weights: np.ndarray, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """The fewest likeliest tokens whose probabilities reach `top_p`.

    Tokens below (1 - top_p) / n cannot be among them: all of these together weigh less than 1 - top_p. Leaving them
    out first saves sorting the vocabulary.
    """
    total = weights.sum()
    likely = np.flatnonzero(weights >= total * (1 - top_p) / weights.size)
    order = likely[np.argsort(-weights[likely], kind="stable")]
    kept = order[: int(np.searchsorted(np.cumsum(weights[order]), total * top_p)) + 1]
    return tokens[kept], weights[kept]


def _number(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
