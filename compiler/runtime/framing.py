"""Texts in a chat template, for sentence encoders that were trained on chat messages.

As sentence-transformers (5.4 and later) does it for texts: each is a message of the user, a prompt is the system's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from compiler.errors import IntegrityError
from compiler.records import Messages
from compiler.runtime.text import Text

FILLERS = ("0", "1 2 3 4")  # they share no token: what two texts of them end in alike is the template's


class Row(NamedTuple):
    """A text's tokens, as `tokenizers.Encoding` names them."""

    ids: list[int]
    type_ids: list[int]


class Framer:
    """Tokens of texts as messages, cut where the checkpoint cuts.

    Raises:
        IntegrityError: the bundle has no chat template.
    """

    def __init__(self, messages: Messages, text: Text) -> None:
        if text.chat is None:
            raise IntegrityError("texts are chat messages to this model, but the bundle has no chat template")
        self._how, self._text, self._chat = messages, text, text.chat

    def __call__(self, texts: Sequence[str], prompt: str = "", task: str | None = None) -> list[Row]:
        """Raises InputError: a text is not valid Unicode, or the template refuses it.

        Args:
            texts: what the user says.
            prompt: what the system says; "" is nothing.
            task: "query" or "document", for templates that tell them apart.
        """
        written = [self._written(text, prompt, task) for text in texts]
        rows = [encoding.ids for encoding in self._text.encode(written, special=False)]
        if self._how.restores and any(len(row) >= self._text.limit for row in rows):
            end = self._end(prompt, task)
            rows = [_ending(row, end) if len(row) >= self._text.limit else row for row in rows]
        return [Row(row, [0] * len(row)) for row in rows]

    def _written(self, text: str, prompt: str, task: str | None) -> str:
        messages = [{"role": "system", "content": self._content(prompt)}] if prompt else []
        messages.append({"role": "user", "content": self._content(text)})
        told = {"tools": None, "documents": None, "add_generation_prompt": False, "task": task}
        shown = {name: value for name, value in told.items() if name != "task" or task}
        return self._chat.render(messages, shown | self._how.variables)

    def _content(self, text: str) -> Any:
        return text if self._how.layout == "flat" else [{"type": "text", "text": text}]

    def _end(self, prompt: str, task: str | None) -> list[int]:
        """The tokens that the template puts behind every text; none where it cannot be told."""
        written = [self._written(filler, prompt, task) for filler in FILLERS]
        first, second = (row.ids for row in self._text.encode(written, special=False, cut=False))
        pairs = zip(reversed(first), reversed(second), strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return first[len(first) - same :] if 0 < same < min(len(first), len(second)) else []


def _ending(row: list[int], end: list[int]) -> list[int]:
    kept = end[-len(row) :] if row else []
    return row[: len(row) - len(kept)] + kept
