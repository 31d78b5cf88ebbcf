"""A conversation that goes on where it stopped: what the cache holds is not read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Unpack, overload

from compiler.engines import Decoding
from compiler.errors import InputError
from compiler.runtime.generation import Answer, Generator
from compiler.runtime.options import Arguments
from compiler.runtime.starts import rendered, require_room
from compiler.runtime.text import Text

Open = Callable[[int], Decoding]

LEAST_CAPACITY = 1024  # tokens of the first cache; it grows by doubling


class Conversation:
    """Messages in turn, with one model and one cache. For one thread at a time.

    With a chat template, every message is written by it. Without one, texts follow each other as they are.

    Attributes:
        messages: what was said so far: {"role": ..., "content": ...}.
    """

    def __init__(self, generator: Generator, text: Text, context: int, open_cache: Open, system: str | None) -> None:
        if system is not None and text.chat is None:
            raise InputError("this model knows no system message", found="no chat template", action="leave it out")
        self.messages: list[dict[str, str]] = [] if system is None else [{"role": "system", "content": system}]
        self._generator, self._text, self._context, self._open = generator, text, context, open_cache
        self._decoding: Decoding | None = None
        self._held: list[int] = []  # tokens that the cache holds

    @overload
    def send(self, message: str, *, stream: Literal[True], **arguments: Unpack[Arguments]) -> Iterator[str]: ...

    @overload
    def send(self, message: str, *, stream: Literal[False] = ..., **arguments: Unpack[Arguments]) -> str: ...

    def send(self, message: str, *, stream: bool = False, **arguments: Unpack[Arguments]) -> str | Iterator[str]:
        """The answer to the next message. Arguments are those of `Model.generate`.

        Nothing changes when an argument is refused. A streamed answer is part of the conversation as far as it was
        read.

        Raises:
            InputError: an argument or the message has a wrong type, or is a beam search.
            ContextError: the conversation leaves no room for an answer in the model's context.
        """
        options = self._generator.options(arguments)
        if options.beams.count > 1 or options.details:
            raise InputError("a conversation gives text as it is chosen", expected="no beams and no details")
        if not isinstance(message, str):
            raise InputError("a message is a text", found=type(message).__name__, expected="str")
        messages = [*self.messages, {"role": "user", "content": message}]
        tokens = self._tokens(messages)
        require_room(len(tokens), self._context)
        limit = min(options.max_new_tokens, self._context - len(tokens))
        answer = Answer(tokens, limit, options, 0, self._text)
        pieces = self._pieces(messages, tokens, answer)
        return pieces if stream else "".join(pieces)

    def close(self) -> None:
        """Free the cache; the next message reads everything again."""
        self._decoding, self._held = None, []

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tokens(self, messages: list[dict[str, str]]) -> list[int]:
        if self._text.chat is not None:
            return self._text.encode([rendered(self._text, messages)], special=False)[0].ids
        text = "".join(message["content"] for message in messages)
        return self._text.encode([text])[0].ids or ([] if self._text.bos is None else [self._text.bos])

    def _pieces(self, messages: list[dict[str, str]], tokens: list[int], answer: Answer) -> Iterator[str]:
        held = self._prepare(tokens, len(tokens) + answer.limit)
        assert self._decoding is not None
        text = ""
        self._held = []  # until the generation ends, nobody knows what the cache holds
        try:
            for piece in self._generator.pieces(self._decoding, answer, tokens[held:], held):
                text += piece
                yield piece
        finally:
            self.messages = [*messages, {"role": "assistant", "content": text}]
            self._held = (tokens + answer.tokens)[: len(tokens) + max(len(answer.tokens) - 1, 0)]

    def _prepare(self, tokens: list[int], capacity: int) -> int:
        """A cache that holds the beginning of `tokens`; how many of them. At least one is left to be read."""
        if self._decoding is None or self._decoding.capacity < capacity:
            self._decoding = self._open(min(self._context, max(LEAST_CAPACITY, 2 * capacity)))
            self._held = []
        same = next(
            (i for i, (one, other) in enumerate(zip(self._held, tokens, strict=False)) if one != other),
            min(len(self._held), len(tokens)),
        )
        same = min(same, len(tokens) - 1)
        if same < len(self._held):
            self._decoding.truncate(same)
        return same
