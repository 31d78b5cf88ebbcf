"""The loop that grows token sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.engines import Decoding

if TYPE_CHECKING:
    from compiler.runtime.guidance import Guide

Choose = Callable[[np.ndarray, np.ndarray], int]


def padded(prompts: Sequence[Sequence[int]], pad: int) -> np.ndarray:
    """(batch, longest) int64, filled up on the right."""
    tokens = np.full((len(prompts), max(map(len, prompts))), pad, np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    return tokens


class Rows:
    """Prompts of unequal length that grow together, one token a step, until each one is finished.

    A finished row leaves the batch before the next step.

    Args:
        prompts: tokens that the decoding does not hold yet, at least one a row.
        held: how many tokens it holds already, for each row; None is an empty cache.
        guide: what changes the scores to choose by.

    Attributes:
        active: (batch,) bool, rows that still grow.
    """

    def __init__(
        self,
        decoding: Decoding,
        prompts: Sequence[Sequence[int]],
        pad: int,
        held: Sequence[int] | None = None,
        guide: Guide | None = None,
    ) -> None:
        self._decoding = decoding
        self._guide = guide
        self._tokens = padded(prompts, pad)
        self._lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        if held is not None:
            self._lengths += np.array(held, np.int64)
        self.active = np.ones(len(prompts), np.bool_)

    def finish(self, row: int) -> None:
        self.active[row] = False

    def steps(self, choose: Sequence[Choose]) -> Iterator[dict[int, int]]:
        """The next token of every active row, by row, until none is active.

        Args:
            choose: for each row, (logits, the same or guided scores), both (vocabulary,) float32 -> token.
        """
        order = np.arange(len(self.active))  # which row each line of the decoding is
        while self.active.any():
            if not (kept := self.active[order]).all():
                lines = np.flatnonzero(kept)
                self._decoding.select(lines)
                if self._guide is not None:
                    self._guide.select(lines)
                order, self._lengths, self._tokens = order[lines], self._lengths[lines], self._tokens[lines]
            logits = self._decoding.step(self._tokens, self._lengths)
            scores = logits
            if self._guide is not None:
                logits = logits.copy()  # of the memory that another call may write to
                scores = self._guide(logits)
            chosen = {row: choose[row](logits[line], scores[line]) for line, row in enumerate(order.tolist())}
            yield chosen
            self._tokens = np.array([[chosen[row]] for row in order.tolist()], np.int64)
            self._lengths = self._lengths + 1
            if self._guide is not None:
                self._guide.add(self._tokens)
