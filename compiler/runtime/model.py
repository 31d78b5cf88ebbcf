"""A loaded bundle."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, TypedDict, Unpack, overload

import msgspec
import numpy as np

from compiler import bundle, records
from compiler.engines import Session, engine
from compiler.errors import UsageError
from compiler.records import Certificate, Manifest
from compiler.runtime.embedding import Embedder
from compiler.runtime.feeds import FeedCheck
from compiler.runtime.generation import Generator, Prompt, Prompts
from compiler.runtime.sampling import Sampling
from compiler.runtime.text import Text


class UnverifiedWarning(UserWarning):
    """A bundle was loaded with `verify=False`: its files were not compared with their digests."""


def load(path: str | Path, *, verify: bool = True, threads: int | None = None) -> Model:
    """Open a bundle.

    Args:
        path: the folder that a build wrote.
        verify: compare every file with its digest first. False is faster, and warns with `UnverifiedWarning`.
        threads: 0 uses every physical core; None keeps what the bundle was built with.

    Raises:
        IntegrityError: a file was changed, is missing or was added.
        EngineUnavailableError: the engine is not installed here.
        EngineError: the engine cannot open the model.
    """
    folder = Path(path)
    if not verify:
        warnings.warn(f"{folder} is loaded without checking its digests", UnverifiedWarning, stacklevel=2)
    manifest = bundle.verify(folder) if verify else bundle.read(folder)
    options = manifest.options if threads is None else msgspec.structs.replace(manifest.options, threads=threads)
    return Model(folder, manifest, engine(manifest.engine).open(folder / manifest.model, options))


class _Options(TypedDict, total=False):
    """Arguments of `Model.generate` that do not decide what it returns."""

    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    stop: str | Sequence[str] | None


class Model:
    """A bundle in memory, safe to use from several threads at once. Close it, or use it in a `with` block."""

    def __init__(self, folder: Path, manifest: Manifest, session: Session) -> None:
        self.folder = folder
        self.manifest = manifest
        self._open: Session | None = session
        self._feeds = FeedCheck(manifest.inputs)

    @cached_property
    def certificate(self) -> Certificate:
        """The verdict and what it rests on.

        Raises:
            IntegrityError: the bundle holds none.
        """
        return records.load(self.folder / bundle.CERTIFICATE, Certificate)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Raw tensors in, all outputs out. Names, dtypes and shapes are those of `manifest.inputs` and `.outputs`.

        Raises:
            InputError: a name, dtype or shape does not fit; nothing is cast silently.
            EngineError: the engine fails on these feeds.
        """
        return self._session.run(self._feeds(feeds))

    def embed(self, texts: Sequence[str], *, normalize: bool | None = None) -> np.ndarray:
        """One vector a text, (texts, hidden) float32, in the order given.

        Long texts are cut where the checkpoint cuts them, at the latest at its context. Calls are batched by length.

        Args:
            texts: any number of texts; zero give (0, hidden).
            normalize: scale vectors to length 1. None does what the checkpoint declares.

        Raises:
            InputError: not a list of strings.
            UsageError: the bundle has no token vectors to pool.
        """
        session = self._session
        return self._embedder(session, texts, normalize)

    @overload
    def generate(self, prompt: Prompt, *, stream: Literal[True], **options: Unpack[_Options]) -> Iterator[str]: ...

    @overload
    def generate(self, prompt: Prompt, *, stream: Literal[False] = ..., **options: Unpack[_Options]) -> str: ...

    @overload
    def generate(self, prompt: Prompts, *, stream: Literal[False] = ..., **options: Unpack[_Options]) -> list[str]: ...

    def generate(
        self,
        prompt: Prompt | Prompts,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        stream: bool = False,
    ) -> str | list[str] | Iterator[str]:
        """The text that follows a prompt.

        Args:
            prompt: a text, chat messages (`{"role": "user", "content": "..."}`, ...), or a list of either.
            max_new_tokens: at most so many tokens; an answer also ends where the model's context does.
            temperature: 0 takes the likeliest token, otherwise tokens are drawn.
            top_p: draw from the likeliest tokens that together have this probability.
            top_k: draw from so many likeliest tokens; 0 is all.
            seed: the same seed gives the same answer; row i of a list draws from (seed, i).
            stop: an answer ends before the first of these texts.
            stream: give an iterator of pieces of text instead, for a single prompt.

        Returns:
            str for one prompt, list[str] for a list of prompts, an iterator when streaming.

        Raises:
            InputError: an argument has a wrong type or is out of range, or a prompt is empty and the model has no
                token to begin with.
            ContextError: a prompt leaves no room in the model's context.
            UsageError: the bundle does not generate, or has no chat template for messages.
        """
        session = self._session
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed)
        return self._generator(session, prompt, sampling, max_new_tokens=max_new_tokens, stop=stop, stream=stream)

    def close(self) -> None:
        """Free the engine. Calls in progress finish; later ones raise UsageError."""
        self._open = None

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _session(self) -> Session:
        if (session := self._open) is None:
            raise UsageError(f"{self.folder}: the model is closed", action="load it again")
        return session

    @cached_property
    def _text(self) -> Text:
        return Text(self.folder, self.manifest)

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(self.manifest, self._text)

    @cached_property
    def _generator(self) -> Generator:
        return Generator(self.manifest, self._text)
