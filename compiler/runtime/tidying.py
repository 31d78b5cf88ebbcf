"""Text without the spaces that some tokenizers' decoders leave before punctuation."""

from __future__ import annotations

import re

# Nothing that is replaced has three letters in a row, so a text may be cut before the last of them.
_SETTLED = re.compile(r".*[^\W\d_]{2}(?=[^\W\d_])", re.DOTALL)


def tidied(text: str) -> str:
    """What transformers makes of a decoded text where `clean_up_tokenization_spaces` is set."""
    text = re.sub(r" ([.?!,])", r"\1", text).replace(" ' ", "'")
    return re.sub(r" (n't|'(?:m|s|ve|re))", r"\1", text)


class Tidied:
    """`tidied` of a text that comes in pieces."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, piece: str) -> str:
        """The text that is certain after one more piece."""
        text = self._held + piece
        found = _SETTLED.match(text)
        cut = found.end() if found else 0
        self._held = text[cut:]
        return tidied(text[:cut])

    def end(self) -> str:
        """What was held back, once no more pieces come."""
        text, self._held = self._held, ""
        return tidied(text)
