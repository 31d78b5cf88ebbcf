"""A conversation that goes on where it stopped: what the cache holds is not read again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import takewhile
from typing import Literal, Unpack, overload

from compiler.engines import Decoding
from compiler.errors import InputError
from compiler.runtime.chat import Shown
from compiler.runtime.generation import Answer, limit
from compiler.runtime.generation import Generator as Writer
from compiler.runtime.options import Arguments
from compiler.runtime.starts import Start, rendered, require_room
from compiler.runtime.text import Text

Open = Callable[[int], Decoding]

LEAST_CAPACITY = 1024  # tokens of the first cache; it grows by doubling


class Conversation:
    """Messages in turn, with one model and one cache. For one thread at a time.

    With a chat template, every message is written by it. Without one, texts follow each other as they are.

    Attributes:
        messages: what was said so far: {"role": ..., "content": ...}.
        tokens: what the cache holds of it.
    """

    def __init__(
        self,
        writer: Writer,
        text: Text,
        context: int,
        open_cache: Open,
        system: str | None,
        *,
        shown: Shown | None = None,
    ) -> None:
        if system is not None and text.chat is None:
            raise InputError("this model knows no system message", found="no chat template", action="leave it out")
        self.messages: list[dict[str, str]] = [] if system is None else [{"role": "system", "content": system}]
        self._writer, self._text, self._context, self._open = writer, text, context, open_cache
        self._shown = shown
        self._decoding: Decoding | None = None
        self.tokens: tuple[int, ...] = ()
        self._answering: Generator[str] | None = None

    @overload
    def send(self, message: str, *, stream: Literal[True], **arguments: Unpack[Arguments]) -> Iterator[str]: ...

    @overload
    def send(self, message: str, *, stream: Literal[False] = ..., **arguments: Unpack[Arguments]) -> str: ...

    def send(self, message: str, *, stream: bool = False, **arguments: Unpack[Arguments]) -> str | Iterator[str]:
        """The answer to the next message. Arguments are those of `Model.generate`.

        Nothing changes when an argument is refused or the engine fails. A streamed answer is part of the conversation
        as far as it was read when it is closed, or when the next message is sent.

        Raises:
            InputError: an argument or the message has a wrong type, or is a beam search.
            ContextError: the conversation leaves no room for an answer in the model's context.
        """
        if self._answering is not None:
            self._answering.close()
        options = self._writer.options(arguments)
        if "adapter" in arguments:
            raise InputError("an adapter is chosen for a whole conversation", action="give it to conversation()")
        if options.shown != Shown():
            raise InputError(
                "what a template is shown holds for a whole conversation", action="give it to conversation()"
            )
        if options.beams.count > 1 or options.details:
            raise InputError(
                "a conversation gives text as it is chosen", expected="no beams and no details", action="give beams=1"
            )
        if not isinstance(message, str):
            raise InputError("a message is a text", found=type(message).__name__, expected="str")
        messages = [*self.messages, {"role": "user", "content": message}]
        tokens = self._tokens(messages)
        require_room(len(tokens), self._context)
        answer = Answer(Start(tokens, []), limit(len(tokens), self._context, options), options, 0, self._text)
        self._answering = self._pieces(messages, tokens, answer)
        return self._answering if stream else "".join(self._answering)

    def close(self) -> None:
        """Free the cache; the next message reads everything again."""
        if self._answering is not None:
            self._answering.close()
        self._forget()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tokens(self, messages: list[dict[str, str]]) -> list[int]:
        if self._text.chat is not None:
            return self._text.encode([rendered(self._text, messages, self._shown)], special=False)[0].ids
        text = "".join(message["content"] for message in messages)
        return self._text.encode([text])[0].ids or ([] if self._text.bos is None else [self._text.bos])

    def _pieces(self, messages: list[dict[str, str]], tokens: list[int], answer: Answer) -> Generator[str]:
        decoding, held = self._prepare(tokens, len(tokens) + answer.limit)
        text = ""
        try:
            for piece in self._writer.pieces(decoding, answer, tokens[held:], held, self._open):
                text += piece
                yield piece
        except GeneratorExit:  # enough was read
            pass
        except BaseException:  # nobody knows what the cache holds
            self._forget()
            raise
        self.messages = [*messages, {"role": "assistant", "content": text}]
        self.tokens = (*tokens, *answer.tokens[:-1])  # the last one was chosen, and not read

    def _forget(self) -> None:
        self._decoding, self.tokens = None, ()

    def _prepare(self, tokens: list[int], capacity: int) -> tuple[Decoding, int]:
        """A cache that holds the beginning of `tokens`; how many of them. At least one is left to be read."""
        if self._decoding is None or self._decoding.capacity < capacity:
            self._decoding = self._open(min(self._context, max(LEAST_CAPACITY, 2 * capacity)))
            self.tokens = ()
        pairs = zip(self.tokens, tokens[:-1], strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._decoding.truncate(same)
        return self._decoding, same
