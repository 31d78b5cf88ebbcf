"""Text embeddings: texts in, one vector each out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.engines import Session
from compiler.errors import InputError, UsageError, did_you_mean
from compiler.pooling import Vectors
from compiler.records import Manifest, Pooling
from compiler.runtime.encoding import Encoder, Tokens
from compiler.runtime.framing import Framer
from compiler.runtime.inputs import as_text, as_texts
from compiler.runtime.text import Text

OUTPUT = "last_hidden_state"
ASYMMETRIC = {"query": "", "document": ""}  # prompts that every model of sentence-transformers has, if nothing else


class Embedder:
    """Embeds with one bundle's encoder. A checkpoint that declares no pooling gets the mean, as it is."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        hidden = next((tensor.shape[-1] for tensor in manifest.outputs if tensor.name == OUTPUT and tensor.shape), None)
        if manifest.kind != "encoder" or not isinstance(hidden, int):
            raise UsageError(
                f"this bundle gives no token vectors to pool: it is for {manifest.task}",
                action="build it for feature-extraction",
            )
        self._vectors = Vectors(manifest.pooling, text.folder, hidden)
        self._encoder = Encoder(manifest, text, manifest.task)
        messages = self._vectors.pooling.messages
        self._framer = Framer(messages, text) if messages else None

    def __call__(
        self,
        session: Session,
        texts: Any,
        normalize: bool | None,
        prompt_name: str | None,
        prompt: str | None,
        *,
        task: str | None = None,
    ) -> np.ndarray:
        """See `Model.embed`; `task` is "query" or "document", for chat templates that tell them apart."""
        asked, single = as_texts(texts, "embed()")
        front = self._prompt(prompt_name, prompt)
        tokens = 0
        if self._framer:
            encodings: Sequence[Tokens] = self._framer(asked, front, task)
        else:
            encodings = self._encoder.encode([front + text for text in asked] if front else asked)
            tokens = self._prompt_tokens(front) if front else 0
        found = np.zeros((len(encodings), self._vectors.width), np.float32)  # a text without tokens stays zeros
        for rows, mask, outputs in self._encoder.run(session, encodings):
            found[rows] = self._vectors(outputs[OUTPUT], mask, prompt=tokens, normalize=normalize)
        return found[0] if single else found

    def _prompt(self, name: str | None, prompt: str | None) -> str:
        """What stands in front of every text."""
        pooling: Pooling = self._vectors.pooling
        prompts = ASYMMETRIC | pooling.prompts
        if prompt is not None:
            if name is not None:
                raise InputError("prompt and prompt_name exclude each other", action="give one of them")
            return as_text(prompt, "prompt")
        if name is None:
            return prompts.get(pooling.default_prompt or "", "")
        if as_text(name, "prompt_name") not in prompts:
            raise UsageError(
                f"this bundle has no prompt {name!r}",
                expected=", ".join(pooling.prompts or prompts),
                action=did_you_mean(str(name), prompts),
            )
        return prompts[name]

    def _prompt_tokens(self, prompt: str) -> int:
        """How many tokens of a text are its prompt's: the prompt's own, less a named special one at its end."""
        (alone,) = self._encoder.encode([prompt])
        ends = bool(alone.ids) and alone.ids[-1] in self._encoder.text.named
        return len(alone.ids) - ends
