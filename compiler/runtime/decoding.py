"""The loop that grows token sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from compiler.engines import Decoding

Choose = Callable[[np.ndarray], int]


class Rows:
    """Prompts of unequal length that grow together, one token a step, until each one is finished.

    A finished row stays in the batch, its length unchanged: what is computed for it is never looked at.

    Attributes:
        active: (batch,) bool, rows that still grow.
    """

    def __init__(self, decoding: Decoding, prompts: Sequence[Sequence[int]], pad: int) -> None:
        self._decoding = decoding
        self._lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        self._tokens = np.full((len(prompts), int(self._lengths.max())), pad, np.int64)
        for row, prompt in enumerate(prompts):
            self._tokens[row, : len(prompt)] = prompt
        self.active = np.ones(len(prompts), np.bool_)

    def finish(self, row: int) -> None:
        self.active[row] = False

    def steps(self, choose: Sequence[Choose]) -> Iterator[dict[int, int]]:
        """The next token of every active row, by row, until none is active.

        Args:
            choose: for each row, logits (vocabulary,) float32 -> token.
        """
        while self.active.any():
            logits = self._decoding.step(self._tokens, self._lengths)
            chosen = {row: choose[row](logits[row]) for row in np.flatnonzero(self.active).tolist()}
            yield chosen
            self._tokens = np.zeros((len(self.active), 1), np.int64)
            for row, token in chosen.items():
                self._tokens[row] = token
            self._lengths = self._lengths + self.active
