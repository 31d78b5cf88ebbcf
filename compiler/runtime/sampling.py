"""Choose the next token from logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from compiler.errors import EngineError, InputError
from compiler.runtime.cutoffs import above_epsilon, above_eta, by_entropy, typical
from compiler.runtime.inputs import shown


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy; the other defaults leave nothing out.

    What each of `top_h` and the settings behind it leaves out is said in `cutoffs`.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    min_p: float = 0.0
    top_h: float | None = None
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0

    def __post_init__(self) -> None:
        for name, value, valid, expected in (
            ("temperature", self.temperature, _number(self.temperature) and self.temperature >= 0, "0 or more"),
            ("top_p", self.top_p, _number(self.top_p) and 0 < self.top_p <= 1, "more than 0, at most 1"),
            ("top_k", self.top_k, _whole(self.top_k), "a whole number, 0 or more"),
            ("min_p", self.min_p, _share(self.min_p), "0 to 1"),
            ("top_h", self.top_h, self.top_h is None or (_share(self.top_h) and self.top_h > 0), "more than 0, to 1"),
            ("typical_p", self.typical_p, _share(self.typical_p) and self.typical_p > 0, "more than 0, at most 1"),
            ("epsilon_cutoff", self.epsilon_cutoff, _share(self.epsilon_cutoff), "0 to 1"),
            ("eta_cutoff", self.eta_cutoff, _share(self.eta_cutoff), "0 to 1"),
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
        tokens, weights = self._cut(tokens, weights)
        steps = np.cumsum(weights)
        drawn = np.searchsorted(steps, self._random.random() * steps[-1], side="right")
        return int(tokens[min(drawn, tokens.size - 1)])

    def _cut(self, tokens: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those that are left to draw from, in transformers' order of the cuts."""
        chosen = self._sampling
        if chosen.top_h is not None:
            kept = by_entropy(weights, chosen.top_h)
            tokens, weights = tokens[kept], weights[kept]
            if 0 < chosen.top_k < tokens.size:
                best = np.sort(np.argsort(-weights, kind="stable")[: chosen.top_k])
                tokens, weights = tokens[best], weights[best]
        if chosen.top_p < 1:
            tokens, weights = _nucleus(tokens, weights, chosen.top_p)
        if chosen.min_p > 0:
            kept = weights >= chosen.min_p * weights.max()
            tokens, weights = tokens[kept], weights[kept]
        for cut, value, idle in (
            (typical, chosen.typical_p, 1),
            (above_epsilon, chosen.epsilon_cutoff, 0),
            (above_eta, chosen.eta_cutoff, 0),
        ):
            if value != idle:
                kept = cut(weights, value)
                tokens, weights = tokens[kept], weights[kept]
        return tokens, weights

    def _candidates(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The `top_k` best tokens in the vocabulary's order, and their logits; all where something is cut before."""
        if not 0 < self._sampling.top_k < logits.size or self._sampling.top_h is not None:
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


def _share(value: object) -> bool:
    return _number(value) and 0 <= value <= 1  # type: ignore[operator]


def _number(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
