"""Where a generation starts: what the decoder is given before its first own token.

A decoder goes on from the prompt itself. The decoder of an encoder-decoder goes on from its start token, and the prompt
is read by the encoder, whose keys and values stay the same for the whole generation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from compiler.engines import Decoding, EncoderDecoderSession, Session
from compiler.errors import ContextError, InputError, IntegrityError, UsageError
from compiler.generation import ids
from compiler.records import CacheShape, Manifest
from compiler.runtime.chat import Message, Shown
from compiler.runtime.decoding import padded
from compiler.runtime.text import Text

Prompt = str | Sequence[Message]
Prompts = list[str] | list[list[Message]]


class Start(NamedTuple):
    """One request: the decoder's first tokens, and those that the encoder reads."""

    prompt: list[int]
    source: list[int]

    @property
    def size(self) -> int:
        return len(self.prompt) + len(self.source)


class Starts(Protocol):
    """How a bundle's generations begin."""

    def read(self, prompt: Prompt, shown: Shown | None = None) -> Start:
        """Raises InputError, ContextError or UsageError for a prompt that the model cannot take."""
        ...

    def open(self, session: Session, starts: Sequence[Start], capacity: int) -> Decoding: ...


def starts_of(manifest: Manifest, text: Text) -> Starts:
    """Raises UsageError for a bundle that does not generate."""
    if manifest.cache is None:
        raise UsageError(
            f"this bundle does not generate text: it is for {manifest.task}",
            action="build it for text-generation or text2text-generation",
        )
    if manifest.encoder is not None:
        return EncoderStarts(manifest, manifest.cache, text)
    return DecoderStarts(manifest, manifest.cache, text)


class DecoderStarts:
    """The prompt itself."""

    def __init__(self, manifest: Manifest, cache: CacheShape, text: Text) -> None:
        self._context, self._cache, self._text = manifest.context_length, cache, text

    def read(self, prompt: Prompt, shown: Shown | None = None) -> Start:
        if not isinstance(prompt, str):
            encoding = self._text.encode([rendered(self._text, prompt, shown)], special=False)[0]
        else:
            encoding = self._text.encode([prompt])[0]
        tokens = encoding.ids or ([] if self._text.bos is None else [self._text.bos])
        if not tokens:
            raise InputError(
                "the prompt is empty, and this model has no token to begin a text with", expected="at least one token"
            )
        require_room(len(tokens), self._context)
        return Start(tokens, [])

    def open(self, session: Session, starts: Sequence[Start], capacity: int) -> Decoding:
        return session.decode(self._cache, len(starts), capacity)


class EncoderStarts:
    """The start token, with the prompt in the encoder."""

    def __init__(self, manifest: Manifest, cache: CacheShape, text: Text) -> None:
        self._context, self._cache, self._text = manifest.context_length, cache, text
        declared = (ids(text.declared.decoder_start_token_id), _start(text.config), ids(text.bos))
        start = next((tokens for tokens in declared if tokens), ())
        if len(start) != 1:
            raise IntegrityError(
                "the bundle does not say which token its decoder starts with",
                found=repr(start) if start else "",
                expected="one decoder_start_token_id",
            )
        (self._start,) = start
        self._crossed = [tensor.name for tensor in manifest.inputs if tensor.name.startswith("cross_key_values.")]

    def read(self, prompt: Prompt, shown: Shown | None = None) -> Start:
        if not isinstance(prompt, str):
            raise InputError("an encoder-decoder takes texts", found="chat messages", expected="a text")
        source = self._text.encode([prompt])[0].ids
        if not source:
            raise InputError("the text is empty, and the tokenizer adds nothing to it", expected="at least one token")
        if len(source) > self._context:
            raise ContextError(
                "the text is longer than the model's context",
                found=f"{len(source)} tokens",
                expected=f"at most {self._context}",
                action="shorten the text, or split it",
            )
        return Start([self._start], source)

    def open(self, session: Session, starts: Sequence[Start], capacity: int) -> Decoding:
        sources = [start.source for start in starts]
        ids = padded(sources, self._text.pad)
        lengths = np.array([len(source) for source in sources])
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        assert isinstance(session, EncoderDecoderSession)
        crossed = session.encode({"input_ids": ids, "attention_mask": mask})
        kept = {name: crossed[name] for name in self._crossed}
        return session.decode(self._cache, len(starts), capacity, {**kept, "encoder_attention_mask": mask})


def _start(config: Mapping[str, Any]) -> tuple[int, ...]:
    token = config.get("decoder_start_token_id")
    return (token,) if type(token) is int else ()


def require_room(tokens: int, context: int) -> None:
    if tokens >= context:
        raise ContextError(
            "the prompt leaves no room for an answer in the model's context",
            found=f"{tokens} tokens",
            expected=f"at most {context - 1} of {context}",
            action="shorten the prompt",
        )


def rendered(text: Text, messages: Sequence[Message], shown: Shown | None) -> str:
    """Chat messages as the model's own template writes them."""
    if text.chat is None:
        raise UsageError("this bundle has no chat template", action="give the prompt as text")
    return text.chat(messages, shown)


def is_single(prompt: Prompt | Prompts) -> bool:
    """A text or a chat, as opposed to a list of them."""
    if isinstance(prompt, str):
        return True
    if not isinstance(prompt, list | tuple):
        raise InputError(
            "the prompt has a wrong type", found=type(prompt).__name__, expected="a text, chat messages, or a list"
        )
    if any(isinstance(each, Mapping) for each in prompt):
        return True
    for index, each in enumerate(prompt):
        if not isinstance(each, str) and not (isinstance(each, list | tuple) and each):
            raise InputError(f"prompt {index} is no prompt", found=repr(each), expected="a text or chat messages")
    return False
