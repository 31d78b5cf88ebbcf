"""An answer as it grows: tokens in, pieces of text out."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from compiler.runtime.tidying import Tidied

_PRIMING = 8  # tokens of the prompt that decide how the first token of the answer is spelled (a leading space)
_BROKEN = "\ufffd"  # what a decoder shows for bytes that are no character


class Pieces:
    """Incremental detokenizer of one answer.

    A piece never ends within a character, but where the answer itself does, and never holds a part of a stop text.
    Where a tokenizer `tidies`, the answer is what `tidied` makes of it, and stop texts are looked for before that.

    Attributes:
        stopped: a stop text was found; the answer is over.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt: Sequence[int], stops: Sequence[str], *, tidies: bool = False
    ) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stops = stops
        # Special tokens are not shown, but a stop text may be one.
        self._endings = {
            token
            for token, added in (tokenizer.get_added_tokens_decoder().items() if stops else ())
            if added.special and any(stop in added.content for stop in stops)
        }
        self._held = ""
        self._tidied = Tidied() if tidies else None
        self._tokens: list[int] = []  # the ones that were spelled last, and those behind them
        self._spelled = 0  # how many of these are spelled
        self._before = ""  # and how
        for token in prompt[-_PRIMING:]:
            self._tokens.append(token)
            self._spell(self._unspelled())

    def add(self, token: int) -> str:
        """The text that is certain after one more token; often "" ."""
        text = self._grown(token)
        return self._tidied.add(text) if self._tidied else text

    def end(self) -> str:
        """What was held back, once no more tokens come; an unfinished character as the decoder shows it."""
        text = self._rest()
        return self._tidied.add(text) + self._tidied.end() if self._tidied else text

    def _grown(self, token: int) -> str:
        self._tokens.append(token)
        text = self._unspelled()
        whole = self._spell(text)
        if whole:
            self._held += text
        seen = self._held if whole else self._held + text.rstrip(_BROKEN)
        if token in self._endings:
            return self._stop(seen, len(seen))
        if (start := self._find(seen)) is not None:
            return self._stop(seen, start)
        return self._take(len(self._held) - self._undecided())

    def _rest(self) -> str:
        if self.stopped:
            return ""
        self._held += self._unspelled()
        self._tokens, self._spelled, self._before = [], 0, ""
        if (start := self._find(self._held)) is not None:
            return self._stop(self._held, start)
        return self._take(len(self._held))

    def _unspelled(self) -> str:
        """The text of the tokens that are not spelled yet, behind those that are."""
        text = self._decode(self._tokens)
        return (
            text[len(self._before) :] if text.startswith(self._before) else self._decode(self._tokens[self._spelled :])
        )

    def _spell(self, text: str) -> bool:
        """Take the tokens' text for good, unless it may change with the next token."""
        if not text or text.endswith(_BROKEN):
            return False
        self._tokens = self._tokens[self._spelled :]
        self._spelled = len(self._tokens)
        self._before = self._decode(self._tokens)
        return True

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def _find(self, text: str) -> int | None:
        """Where the first stop text begins."""
        return min((start for stop in self._stops if (start := text.find(stop)) >= 0), default=None)

    def _stop(self, text: str, size: int) -> str:
        self.stopped = True
        self._held = text
        return self._take(size)

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
