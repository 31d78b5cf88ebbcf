"""An answer as it grows: tokens in, pieces of text out."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

_PRIMING = 8  # tokens of the prompt that decide how the first token of the answer is spelled (a leading space)


class Pieces:
    """Incremental detokenizer of one answer.

    A piece never ends within a character, and never holds a part of a stop text.

    Attributes:
        stopped: a stop text was found; the answer is over.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stops: Sequence[str]) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stops = stops
        self._held = ""
        self._stream = DecodeStream(skip_special_tokens=True)
        for token in prompt[-_PRIMING:]:
            self._stream.step(tokenizer, token)

    def add(self, token: int) -> str:
        """The text that is certain after one more token; often "" ."""
        self._held += self._stream.step(self._tokenizer, token) or ""
        starts = [start for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if starts:
            self.stopped = True
            return self._take(min(starts))
        return self._take(len(self._held) - self._undecided())

    def end(self) -> str:
        """What was held back, once no more tokens come."""
        return "" if self.stopped else self._take(len(self._held))

    def _take(self, size: int) -> str:
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _undecided(self) -> int:
        """Length of the longest end of the held text that could be the beginning of a stop text."""
        return max(
            (
                size
                for stop in self._stops
                for size in range(1, min(len(stop), len(self._held)) + 1)
                if self._held.endswith(stop[:size])
            ),
            default=0,
        )
