"""A loaded bundle."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Unpack, overload

import msgspec
import numpy as np

from compiler import bundle, inventory, machine, records
from compiler.engines import Session, open_bundle, serving
from compiler.errors import InputError, UsageError
from compiler.records import Certificate, Manifest, Serving
from compiler.runtime import elsewhere, older, verdict
from compiler.runtime.adapters import Adapters
from compiler.runtime.chat import Shown, Tool
from compiler.runtime.conversation import Conversation
from compiler.runtime.feeds import FeedCheck
from compiler.runtime.generation import Generated, Generator
from compiler.runtime.options import Arguments
from compiler.runtime.pipelines import PipelineModel, named
from compiler.runtime.starts import Prompt, Prompts
from compiler.runtime.text import Text
from compiler.runtime.understanding import Understanding


class UnverifiedWarning(UserWarning):
    """A bundle was loaded with `verify=False`: its files were not compared with their digests."""


def load(path: str | Path, *, verify: bool = True, digest: str | None = None, threads: int | None = None) -> Model:
    """Open a bundle.

    Args:
        path: the folder that a build wrote.
        verify: compare every file with its digest first. False is faster, and warns with `UnverifiedWarning`.
        digest: the bundle's, as `compile build` and `compile inspect` print it ("sha256:..."). What a bundle says about
            itself shows damage; only a digest that came by another way shows that it is the bundle you mean.
        threads: 0 uses every physical core; None keeps what the bundle was built with, as far as there are cores.

    Warns:
        VerdictWarning: the certificate says "fail".
        ElsewhereWarning: another engine or kind of processor answers than the certificate is of, or the bundle was
            built for more threads than this machine has cores.
        OlderBundleWarning: an encoder's bundle does not say whether padding changes its answers.

    Raises:
        InputError: no such number of threads.
        IntegrityError: a file was changed, is missing or was added, also while it was opened; or it is another bundle.
        UsageError: `digest` is none.
        EngineUnavailableError: the engine is not installed here.
        EngineError: the engine cannot open the model.
    """
    folder = Path(path)
    cores = machine.logical_cores()
    if threads is not None and not (type(threads) is int and 0 <= threads <= cores):
        raise InputError("threads is out of range", found=repr(threads), expected=f"0 to {cores}, the cores here")
    if not verify:
        warnings.warn(f"{folder} is loaded without checking its digests", UnverifiedWarning, stacklevel=2)
    manifest = bundle.read(folder, digest)
    before = inventory.stamps(folder) if verify else {}
    if verify:
        bundle.compare(folder, manifest)
    options = manifest.options if threads is None else msgspec.structs.replace(manifest.options, threads=threads)
    session = open_bundle(folder, manifest, options)
    if verify:
        inventory.require_untouched(folder, before)
    model = named(Model, manifest.architecture)(folder, manifest, session, verified=verify)
    model.serving = serving(manifest, options)
    elsewhere.warn_of_threads(folder.name, options.threads)
    older.warn(folder.name, manifest)
    if bundle.CERTIFICATE in manifest.files:
        verdict.warn(str(folder), model.certificate)
        elsewhere.warn(folder.name, model.certificate, model.serving)
    return model


class Model(Understanding, PipelineModel):
    """A bundle in memory, safe to use from several threads at once. Close it, or use it in a `with` block.

    With transformers installed it is also a pipeline's model:
    `transformers.pipeline("fill-mask", model=compiler.load(bundle), tokenizer=bundle)`.

    `serving` says which engine answers, and why that one where the bundle leaves a choice (None for a session that was
    not opened by `load`).
    """

    serving: Serving | None = None

    def __init__(self, folder: Path, manifest: Manifest, session: Session, *, verified: bool = True) -> None:
        super().__init__()
        self.folder = folder
        self._files = bundle.Files(folder, manifest, compared=verified)
        self.manifest = manifest
        self._open: Session | None = session
        self._feeds = FeedCheck(manifest.inputs, manifest.token_rows)

    @cached_property
    def certificate(self) -> Certificate:
        """The verdict and what it rests on.

        Raises:
            IntegrityError: the bundle holds none.
        """
        content = self._files.read(bundle.CERTIFICATE)
        return records.parse(content, Certificate, str(self.folder / bundle.CERTIFICATE))

    def run(self, feeds: Mapping[str, np.ndarray], *, adapter: str | None = None) -> dict[str, np.ndarray]:
        """Raw tensors in, all outputs out. Names, dtypes and shapes are those of `manifest.inputs` and `.outputs`.

        Args:
            feeds: every input by name.
            adapter: the name of one of the bundle's adapters; None is the base.

        Raises:
            InputError: a name, dtype or shape does not fit (nothing is cast silently), the model has no such token, or
                a row of a mask has none.
            EngineError: the engine fails on these feeds.
        """
        return self._with(adapter).run(self._feeds(feeds))

    @overload
    def generate(self, prompt: Prompt, *, stream: Literal[True], **arguments: Unpack[Arguments]) -> Iterator[str]: ...

    @overload
    def generate(self, prompt: Prompt, *, details: Literal[True, "logits"], **rest: Unpack[Arguments]) -> Generated: ...

    @overload
    def generate(
        self, prompt: Prompts, *, details: Literal[True, "logits"], **rest: Unpack[Arguments]
    ) -> list[Generated]: ...

    @overload
    def generate(self, prompt: Prompt, *, stream: Literal[False] = ..., **arguments: Unpack[Arguments]) -> str: ...

    @overload
    def generate(
        self, prompt: Prompts, *, stream: Literal[False] = ..., **arguments: Unpack[Arguments]
    ) -> list[str]: ...

    @overload
    def generate(self, prompt: None = None, *, input_ids: Any, attention_mask: Any = ..., **settings: Any) -> Any: ...

    def generate(self, prompt: Any = None, *, stream: bool = False, **arguments: Any) -> Any:
        """The text that follows a prompt, or that an encoder-decoder makes of it.

        Args:
            prompt: a text, chat messages (`{"role": "user", "content": "..."}`, ...), or a list of either.
            stream: give an iterator of pieces of text instead, for a single prompt. Closing it frees the cache.
            details: give `Generated` with tokens and log-probabilities in place of text; "logits" keeps all logits too.
            arguments: `max_new_tokens`, `temperature`, `beams`, `stop`, ...: see `compiler.runtime.options.Arguments`.

        Returns:
            str for one prompt, list[str] for a list of prompts, an iterator when streaming; with `details`,
            `Generated` in place of str.

        Raises:
            InputError: an argument has a wrong type or is out of range, or a prompt is empty and the model has no
                token to begin with.
            ContextError: a prompt leaves no room in the model's context.
            UsageError: the bundle does not generate, has no chat template for messages, or has no such adapter.

        With `input_ids` in place of a prompt, it takes torch tensors and settings as transformers' `generate` does, and
        gives the tokens (batch, sequence): the rows with their answers.
        """
        if prompt is None and "input_ids" in arguments:
            return self._generate_tokens(**arguments)
        session = self._with(arguments.get("adapter"))
        options = self._generator.options(arguments)
        return self._generator(session, prompt, options, stream=stream)

    def searches(self, **arguments: Unpack[Arguments]) -> bool:
        """Whether `generate` with these arguments is a beam search, which cannot be streamed.

        Raises:
            InputError: an argument has a wrong type or is out of range.
        """
        return self._generator.options(arguments).beams.count > 1

    def conversation(
        self,
        *,
        system: str | None = None,
        adapter: str | None = None,
        template: str | None = None,
        tools: Sequence[Tool] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
    ) -> Conversation:
        """A conversation that keeps its cache from message to message.

        Args:
            system: the system message, for models whose chat template has one.
            adapter: the name of one of the bundle's adapters.
            template, tools, documents: see `compiler.runtime.options.Arguments`.

        Raises:
            UsageError: the bundle is not for text-generation, or has no such adapter.
        """
        cache = self.manifest.cache
        if cache is None or self.manifest.encoder is not None:
            raise UsageError(
                f"this bundle holds no conversation: it is for {self.manifest.task}",
                action="build it for text-generation",
            )
        self._with(adapter)
        return Conversation(
            self._generator,
            self._text,
            self.manifest.context_length,
            lambda capacity: self._with(adapter).decode(cache, 1, capacity, {}),
            system,
            shown=Shown(template, tools, documents),
        )

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

    def _with(self, adapter: str | None) -> Session:
        return self._adapters(self._session, adapter)

    @cached_property
    def _adapters(self) -> Adapters:
        return Adapters(self._files, self.manifest)

    @cached_property
    def _text(self) -> Text:
        return Text(self._files, self.manifest)

    @cached_property
    def _generator(self) -> Generator:
        return Generator(self.manifest, self._text)
