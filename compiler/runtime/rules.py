"""What may not be said, and what must be: changes of the scores before a token is chosen.

The rules, and their order, are those of transformers' `generate`, so that the same settings give the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rules:
    """Settings that concern single tokens.

    Attributes:
        repetition_penalty: above 1, tokens that have occurred (in the prompt too) become less likely (CTRL, Keskar et
            al. 2019).
        no_repeat_ngram_size: no sequence of so many tokens occurs twice; 0 allows all.
        bad_words: token sequences that never occur.
        min_length, min_new_tokens: the text, or its new part, does not end before so many tokens.
        first, last: the only token at the second place of a text, and at the last place that the limit leaves.
        suppressed, suppressed_first: tokens that never occur, and that do not begin an answer (after `first`).
        renormalize: the changed scores are log-probabilities again.
        ends: tokens that end an answer.
    """

    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    bad_words: tuple[tuple[int, ...], ...] = ()
    min_length: int = 0
    min_new_tokens: int = 0
    first: int | None = None
    last: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    renormalize: bool = False
    ends: tuple[int, ...] = ()

    @property
    def active(self) -> bool:
        """Whether any rule can change scores."""
        return self != Rules(ends=self.ends)

    def __call__(self, scores: np.ndarray, tokens: Sequence[int], new: int, limit: int) -> np.ndarray:
        """The changed scores.

        Args:
            scores: (vocabulary,) float32, logits or log-probabilities; not changed in place.
            tokens: the text so far, prompt and answer.
            new: how many of these are the answer's.
            limit: tokens that the answer may have.
        """
        scores = scores.copy()
        if self.repetition_penalty != 1:
            seen = np.unique(np.asarray(tokens, np.int64))
            seen = seen[seen < scores.size]  # an embedding can have more rows than there are logits
            found = scores[seen]
            scores[seen] = np.where(found < 0, found * self.repetition_penalty, found / self.repetition_penalty)
        if self.no_repeat_ngram_size:
            repeated = _after(tokens, self.no_repeat_ngram_size)
            scores[repeated[repeated < scores.size]] = -np.inf
        for word in self.bad_words:
            if len(word) <= len(tokens) + 1 and tuple(tokens[len(tokens) - len(word) + 1 :]) == word[:-1]:
                scores[word[-1]] = -np.inf
        if len(tokens) < self.min_length or new < self.min_new_tokens:
            scores[list(self.ends)] = -np.inf
        if self.first is not None and len(tokens) == 1:
            scores = _only(scores, (self.first,))
        if self.last and new == limit - 1:
            scores = _only(scores, self.last)
        scores[list(self.suppressed)] = -np.inf
        if new == (self.first is not None and len(tokens) - new == 1):
            scores[list(self.suppressed_first)] = -np.inf
        return log_softmax(scores) if self.renormalize else scores


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of logits (..., vocabulary) float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _after(tokens: Sequence[int], size: int) -> np.ndarray:
    """What followed earlier occurrences of the last `size` - 1 tokens."""
    history = np.asarray(tokens, np.int64)
    if history.size < size:
        return history[:0]
    windows = np.lib.stride_tricks.sliding_window_view(history, size)
    found: np.ndarray = windows[(windows[:, :-1] == history[history.size - size + 1 :]).all(axis=1), -1]
    return found


def _only(scores: np.ndarray, tokens: tuple[int, ...]) -> np.ndarray:
    forced = np.full_like(scores, -np.inf)
    forced[list(tokens)] = 0
    return forced
