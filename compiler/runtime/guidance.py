"""Classifier-free guidance: what the prompt adds to the chances of a token is made larger.

With p the log-probabilities after the prompt and q those after another context, tokens are chosen by
scale * (p - q) + q (Sanchez et al. 2023, "Stay on topic with Classifier-Free Guidance"). The other context is the last
token of the prompt alone, or a text that is to be avoided, and goes on with the same answer, in a cache of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.engines import Decoding
from compiler.runtime.decoding import padded
from compiler.runtime.rules import log_softmax

if TYPE_CHECKING:
    from compiler.runtime.options import Options


def guide(
    open_cache: Callable[[int], Decoding],
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    options: Options,
    pad: int,
) -> Guide | None:
    """What guides the answers, of at most so many tokens each, to these prompts; None where nothing does.

    `open_cache` makes an empty decoding with a row for each prompt, of so many tokens.
    """
    if options.guidance == 1:
        return None
    contexts = [options.negative or prompt[-1:] for prompt in prompts]
    capacity = max(len(context) + limit for context, limit in zip(contexts, limits, strict=True))
    return Guide(open_cache(capacity), contexts, options.guidance, pad)


class Guide:
    """The same answers as they grow after other contexts.

    Args:
        decoding: empty, with a row for each of them.
        contexts: the tokens that stand before each answer, at least one.
        scale: 1 leaves the scores as they are.
        pad: a token to fill up rows.
    """

    def __init__(self, decoding: Decoding, contexts: Sequence[Sequence[int]], scale: float, pad: int) -> None:
        self._decoding = decoding
        self._tokens = padded(contexts, pad)
        self._lengths = np.array([len(context) for context in contexts], np.int64)
        self._scale = np.float32(scale)

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """The scores to choose by, (batch, vocabulary) float32, for the logits after the prompts."""
        given = log_softmax(logits)
        other = log_softmax(self._decoding.step(self._tokens, self._lengths))
        with np.errstate(over="ignore", invalid="ignore"):  # a token that both exclude; whoever chooses looks for NaN
            return np.asarray(self._scale * (given - other) + other)

    def select(self, rows: np.ndarray) -> None:
        """Go on with these rows, as `Decoding.select`."""
        self._decoding.select(rows)
        self._tokens, self._lengths = self._tokens[rows], self._lengths[rows]

    def add(self, tokens: np.ndarray) -> None:
        """Take the tokens (batch, 1) that were chosen."""
        self._tokens, self._lengths = tokens, self._lengths + 1
