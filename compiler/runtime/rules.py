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
        sequence_bias: (tokens, bias): added to the last one's score where the others stand before it.
        encoder_repetition_penalty: above 1, tokens of what is answered become likelier.
        repetition_penalty: above 1, tokens that have occurred (in the prompt too) become less likely (CTRL, Keskar et
            al. 2019).
        no_repeat_ngram_size: no sequence of so many tokens occurs twice; 0 allows all.
        encoder_no_repeat_ngram_size: none of what is answered occurs in the answer; 0 allows all.
        bad_words: token sequences that never occur.
        min_length, min_new_tokens: the text, or its new part, does not end before so many tokens.
        first, last: the only token at the second place of a text, and at the last place that the limit leaves.
        remove_invalid: infinities and NaN become numbers.
        decay: (start, factor): after `start` new tokens an end gets likelier by `factor` with every token.
        suppressed, suppressed_first: tokens that never occur, and that do not begin an answer (after `first`).
        renormalize: the changed scores are log-probabilities again.
        ends: tokens that end an answer.
    """

    sequence_bias: tuple[tuple[tuple[int, ...], float], ...] = ()
    encoder_repetition_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words: tuple[tuple[int, ...], ...] = ()
    min_length: int = 0
    min_new_tokens: int = 0
    first: int | None = None
    last: tuple[int, ...] = ()
    remove_invalid: bool = False
    decay: tuple[int, float] | None = None
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    renormalize: bool = False
    ends: tuple[int, ...] = ()

    @property
    def active(self) -> bool:
        """Whether any rule can change scores."""
        return self != Rules(ends=self.ends)

    def __call__(
        self, scores: np.ndarray, tokens: Sequence[int], new: int, limit: int, source: Sequence[int] | None = None
    ) -> np.ndarray:
        """The changed scores.

        Args:
            scores: (vocabulary,) float32, logits or log-probabilities; not changed in place.
            tokens: the text so far, prompt and answer.
            new: how many of these are the answer's.
            limit: tokens that the answer may have.
            source: the tokens that are answered; None is the prompt.
        """
        source = tokens[: len(tokens) - new] if source is None else source
        scores = self._weighed(scores.copy(), tokens, source)
        ends = _known(self.ends, scores)
        if self.no_repeat_ngram_size:
            scores[_after(tokens, tokens, self.no_repeat_ngram_size, scores)] = -np.inf
        if self.encoder_no_repeat_ngram_size:
            scores[_after(source, tokens, self.encoder_no_repeat_ngram_size, scores)] = -np.inf
        for word in self.bad_words:
            if _completes(tokens, word):
                scores[word[-1]] = -np.inf
        if len(tokens) < self.min_length or new < self.min_new_tokens:
            scores[ends] = -np.inf
        if self.first is not None and len(tokens) == 1:
            scores = _only(scores, (self.first,))
        if self.last and new == limit - 1:
            scores = _only(scores, self.last)
        if self.remove_invalid:
            scores = np.nan_to_num(scores, copy=False)
        if self.decay is not None and new > self.decay[0]:
            scores[ends] += _growth(scores[ends], *self.decay, new)
        scores[_known(self.suppressed, scores)] = -np.inf
        if new == (self.first is not None and len(tokens) - new == 1):
            scores[_known(self.suppressed_first, scores)] = -np.inf
        return log_softmax(scores) if self.renormalize else scores

    def _weighed(self, scores: np.ndarray, tokens: Sequence[int], source: Sequence[int]) -> np.ndarray:
        """Biases and penalties, in place."""
        biases: dict[int, np.floating] = {}
        for word, bias in self.sequence_bias:
            if _completes(tokens, word):
                biases[word[-1]] = biases.get(word[-1], np.float32(0)) + np.float32(bias)
        for token, added in biases.items():
            scores[token] += added
        for seen, penalty in (
            (source, 1 / self.encoder_repetition_penalty),
            (tokens, self.repetition_penalty),
        ):
            if penalty != 1:
                known = _known(seen, scores)  # an embedding can have more rows than there are logits
                found = scores[known]
                with np.errstate(over="ignore"):
                    scores[known] = np.where(found < 0, found * penalty, found / penalty)
        return scores


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of logits (..., vocabulary) float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _known(tokens: Sequence[int], scores: np.ndarray) -> np.ndarray:
    """Each of these tokens that has a score, once."""
    found = np.unique(np.asarray(tokens, np.int64))
    return found[(found >= 0) & (found < scores.size)]


def _completes(tokens: Sequence[int], word: tuple[int, ...]) -> bool:
    """Whether the word's last token is all that it lacks."""
    return len(word) <= len(tokens) + 1 and tuple(tokens[len(tokens) - len(word) + 1 :]) == word[:-1]


def _after(text: Sequence[int], tokens: Sequence[int], size: int, scores: np.ndarray) -> np.ndarray:
    """What followed, in a text, those tokens that are now the last `size` - 1."""
    history, last = np.asarray(text, np.int64), np.asarray(tokens[len(tokens) - size + 1 :], np.int64)
    if len(history) < size or len(last) < size - 1:
        return history[:0]
    windows = np.lib.stride_tricks.sliding_window_view(history, size)
    found: np.ndarray = windows[(windows[:, :-1] == last).all(axis=1), -1]
    return found[found < scores.size]


def _growth(scores: np.ndarray, start: int, factor: float, new: int) -> np.ndarray:
    """What an end's score gains: its size, times the factor's power; nothing where it is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        gain = np.abs(scores) * np.float32(np.float64(factor) ** (new - start) - 1)
    largest = np.finfo(np.float32).max
    return np.where(np.isfinite(scores), np.clip(np.nan_to_num(gain), -largest, largest / 2), 0).astype(np.float32)


def _only(scores: np.ndarray, tokens: tuple[int, ...]) -> np.ndarray:
    forced = np.full_like(scores, -np.inf)
    forced[list(tokens)] = 0
    return forced
