"""Text generation: prompts in, answers out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from compiler.engines import Session
from compiler.errors import ContextError, InputError, UsageError
from compiler.records import Manifest
from compiler.runtime.batching import batches
from compiler.runtime.chat import Message
from compiler.runtime.decoding import Rows
from compiler.runtime.pieces import Pieces
from compiler.runtime.sampling import Sampler, Sampling
from compiler.runtime.text import Text

CACHE_TOKENS = 8192  # rows times capacity of one batch: the memory that many prompts at once may take
Prompt = str | Sequence[Message]
Prompts = list[str] | list[list[Message]]


class _Row(NamedTuple):
    """One prompt (tokens) on its way to an answer of at most `limit` tokens."""

    prompt: list[int]
    limit: int
    choose: Sampler
    text: Pieces

    @property
    def capacity(self) -> int:
        return len(self.prompt) + self.limit


class Generator:
    """Generates with one bundle's decoder."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        if manifest.cache is None:
            raise UsageError(
                f"this bundle does not generate text: it is for {manifest.task}", action="build it for text-generation"
            )
        self._cache = manifest.cache
        self._context = manifest.context_length
        self._text = text

    def __call__(
        self,
        session: Session,
        prompt: Prompt | Prompts,
        sampling: Sampling,
        *,
        max_new_tokens: int,
        stop: str | Sequence[str] | None,
        stream: bool,
    ) -> str | list[str] | Iterator[str]:
        """See `Model.generate`. All arguments are checked before the first token, also when streaming."""
        stops = _stops(stop)
        if not isinstance(max_new_tokens, int) or isinstance(max_new_tokens, bool) or max_new_tokens < 1:
            raise InputError("max_new_tokens is out of range", found=repr(max_new_tokens), expected="1 or more")
        single = _is_single(prompt)
        if stream and not single:
            raise InputError("only a single prompt can be streamed", found="a list of prompts", expected="one prompt")
        prompts = [self._tokens(each) for each in cast("list[Prompt]", [prompt] if single else prompt)]
        if not prompts:
            return []
        rows = [
            _Row(
                prompt=tokens,
                limit=min(max_new_tokens, self._context - len(tokens)),
                choose=Sampler(sampling, index),
                text=Pieces(self._text.tokenizer, tokens, stops),
            )
            for index, tokens in enumerate(prompts)
        ]
        if stream:
            return (piece for _, piece in self._pieces(session, rows))
        answers = [""] * len(rows)
        for batch in batches([row.capacity for row in rows], CACHE_TOKENS):
            for index, piece in self._pieces(session, [rows[index] for index in batch]):
                answers[batch[index]] += piece
        return answers[0] if single else answers

    def _pieces(self, session: Session, rows: list[_Row]) -> Iterator[tuple[int, str]]:
        """Pieces of text, none of them empty, with the index of their row."""
        decoding = session.decode(self._cache, len(rows), max(row.capacity for row in rows))
        growing = Rows(decoding, [row.prompt for row in rows], self._text.pad)
        for count, chosen in enumerate(growing.steps([row.choose for row in rows]), start=1):
            for index, token in chosen.items():
                row = rows[index]
                ended = token in self._text.ends
                piece = "" if ended else row.text.add(token)
                if ended or row.text.stopped or count == row.limit:
                    growing.finish(index)
                    piece += row.text.end()
                if piece:
                    yield index, piece

    def _tokens(self, prompt: Prompt) -> list[int]:
        if not isinstance(prompt, str):
            encoding = self._text.encode([self._render(prompt)], special=False)[0]
        else:
            encoding = self._text.encode([prompt])[0]
        tokens = encoding.ids or ([] if self._text.bos is None else [self._text.bos])
        if not tokens:
            raise InputError(
                "the prompt is empty, and this model has no token to begin a text with", expected="at least one token"
            )
        if len(tokens) >= self._context:
            raise ContextError(
                "the prompt leaves no room for an answer in the model's context",
                found=f"{len(tokens)} tokens",
                expected=f"at most {self._context - 1} of {self._context}",
                action="shorten the prompt",
            )
        return tokens

    def _render(self, messages: Sequence[Message]) -> str:
        if self._text.chat is None:
            raise UsageError("this bundle has no chat template", action="give the prompt as text")
        return self._text.chat(messages)


def _is_single(prompt: Prompt | Prompts) -> bool:
    """A text or a chat, as opposed to a list of them."""
    if isinstance(prompt, str):
        return True
    if not isinstance(prompt, list | tuple):
        raise InputError(
            "the prompt has a wrong type", found=type(prompt).__name__, expected="a text, chat messages, or a list"
        )
    chats = [isinstance(each, Mapping) for each in prompt]
    if any(chats):
        return True
    for index, each in enumerate(prompt):
        if not isinstance(each, str) and not (isinstance(each, list | tuple) and each):
            raise InputError(f"prompt {index} is no prompt", found=repr(each), expected="a text or chat messages")
    return False


def _stops(stop: str | Sequence[str] | None) -> list[str]:
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    if not all(isinstance(each, str) and each for each in stops):
        raise InputError("stop texts", found=repr(stop), expected="a text that is not empty, or a list of them")
    return stops
