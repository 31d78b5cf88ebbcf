"""Beam search.

Scores are sums of log-probabilities over (answer's length ** length_penalty). Which hypotheses are kept, and when the
search ends, is what transformers' `generate` does, with its three kinds of early stopping, so that both give the same
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from compiler.engines import Decoding
from compiler.runtime.decoding import padded
from compiler.runtime.guidance import Guide
from compiler.runtime.rules import Rules, log_softmax
from compiler.runtime.sampling import require_numbers

IMPOSSIBLE = np.float32(-1e9)


@dataclass(frozen=True)
class Beams:
    """`early_stopping` True ends once `count` hypotheses are complete, False once a better one is unlikely, "never"
    once it is impossible."""

    count: int
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False


class Hypothesis(NamedTuple):
    """An answer: its tokens, the log-probability that the model gave each of them, and the score of the whole."""

    tokens: list[int]
    logprobs: list[float]
    score: float


@dataclass
class Search:
    """The search for one prompt's answer of at most `limit` tokens."""

    prompt: list[int]
    limit: int
    beams: Beams
    rules: Rules
    stopped: Callable[[list[int]], bool] | None = None  # whether an answer of these tokens is over
    source: Sequence[int] | None = None  # the tokens that are answered, where they are not the prompt
    running: list[Hypothesis] = field(default_factory=lambda: [Hypothesis([], [], 0.0)])
    complete: list[Hypothesis] = field(default_factory=list)
    over: bool = False
    _improvable: bool = True

    def advance(self, logits: np.ndarray, guided: np.ndarray | None = None) -> list[int]:
        """Go one token further.

        Args:
            logits: (running, vocabulary) float32, after each running hypothesis.
            guided: log-probabilities of the same shape to choose by, in place of the model's own.

        Returns:
            for each hypothesis that runs now, the one it continues.

        Raises:
            EngineError: the model computed NaN or infinity.
        """
        if not self.rules.remove_invalid:
            require_numbers(logits.max(axis=-1))
        raw = log_softmax(logits)
        if guided is None:
            guided = raw
        elif not self.rules.remove_invalid:
            require_numbers(guided.max(axis=-1))
        new = len(self.running[0].tokens)
        scores = np.stack(
            [
                self.rules(line, self.prompt + each.tokens, new, self.limit, self.source)
                for line, each in zip(guided, self.running, strict=True)
            ]
        )
        scores += np.array([each.score for each in self.running], np.float32)[:, None]
        width, flat = scores.shape[1], scores.ravel()
        keep = min(max(2, 1 + len(self.rules.ends)) * self.beams.count, flat.size)
        best = np.argpartition(-flat, keep - 1)[:keep]
        best = best[np.lexsort((best, -flat[best]))]
        candidates = [
            self._extended(int(index) // width, int(index) % width, float(flat[index]), raw) for index in best
        ]
        ended = [self._ended(each.tokens) for _, each in candidates]

        self._complete(
            [each for (_, each), end in zip(candidates[: self.beams.count], ended, strict=False) if end], new + 1
        )
        going = [pair for pair, end in zip(candidates, ended, strict=True) if not end][: self.beams.count]
        self.over = not going
        if going:
            self.running = [each for _, each in going]
            self._judge(new + 1)
        return [parent for parent, _ in going]

    def best(self) -> Hypothesis:
        """The best complete hypothesis; the best running one where none is complete."""
        if self.complete:
            return self.complete[0]
        found = self.running[0]
        return found._replace(score=found.score / max(len(found.tokens), 1) ** self.beams.length_penalty)

    def _ended(self, tokens: list[int]) -> bool:
        if tokens[-1] in self.rules.ends or len(tokens) >= self.limit:
            return True
        return self.stopped is not None and self.stopped(tokens)

    def _extended(self, parent: int, token: int, score: float, raw: np.ndarray) -> tuple[int, Hypothesis]:
        before = self.running[parent]
        return parent, Hypothesis([*before.tokens, token], [*before.logprobs, float(raw[parent, token])], score)

    def _complete(self, ended: list[Hypothesis], length: int) -> None:
        full = len(self.complete) == self.beams.count
        if not self._improvable or (full and self.beams.early_stopping is True):
            return
        scale = np.float32(length**self.beams.length_penalty)
        self.complete += [each._replace(score=float(np.float32(each.score) / scale)) for each in ended]
        self.complete = sorted(self.complete, key=lambda each: -each.score)[: self.beams.count]

    def _judge(self, length: int) -> None:
        """Whether going on can change the result."""
        full = len(self.complete) == self.beams.count
        eventual = self.limit if self.beams.early_stopping == "never" and self.beams.length_penalty > 0 else length
        hope = np.float32(self.running[0].score) / np.float32(eventual**self.beams.length_penalty)
        worst = np.float32(self.complete[-1].score) if full else IMPOSSIBLE
        self._improvable = self._improvable and bool(hope > worst)
        self.over = not self._improvable or (full and self.beams.early_stopping is True)


def search(
    decoding: Decoding,
    searches: Sequence[Search],
    pad: int,
    stopped: Callable[[], bool],
    guide: Guide | None = None,
) -> None:
    """Run searches for several prompts together, until all are over or `stopped()`.

    A guide's rows do not change places with the hypotheses: row k goes on with the tokens of whatever hypothesis is
    the k-th, as in transformers.
    """
    active = list(searches)
    tokens = padded([each.prompt for each in active], pad)
    lengths = np.array([len(each.prompt) for each in active], np.int64)
    while active and not stopped():
        logits = decoding.step(tokens, lengths)
        guided = None
        if guide is not None:
            logits = logits.copy()
            guided = guide(logits)
        lines: list[int] = []
        guiding: list[int] = []
        start = 0
        for each in active:
            count = len(each.running)
            rows = slice(start, start + count)
            parents = each.advance(logits[rows], None if guided is None else guided[rows])
            if not each.over:
                lines += [start + parent for parent in parents]
                guiding += [start + line % count for line in range(len(parents))]
            start += count
        active = [each for each in active if not each.over]
        if active:
            kept = np.array(lines, np.int64)
            decoding.select(kept)
            lengths = lengths[kept] + 1
            tokens = np.array([[each.tokens[-1]] for one in active for each in one.running], np.int64)
            if guide is not None:
                guide.select(np.array(guiding, np.int64))
                guide.add(tokens)
