"""What a bundle's model is fed for texts: tokens as the methods of `Model` make them, for the check to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from compiler.bundle import Files
from compiler.errors import InputError
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.framing import Framer
from compiler.runtime.scores import labels
from compiler.runtime.starts import rendered
from compiler.runtime.text import Text

LABELLED = frozenset({"text-classification", "token-classification"})


class Tokenized:
    """One bundle's tokens, conversations and labels.

    Raises:
        IntegrityError: a file of the bundle is no tokenizer, or not what its settings can be.
    """

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self._manifest, self._text = manifest, Text(files, manifest)
        self._cut = manifest.task != "question-answering"
        self.limit = self._text.limit if manifest.kind == "encoder" and self._cut else 0
        self._types = any(tensor.name == "token_type_ids" for tensor in manifest.inputs)

    def rows(self, texts: Sequence[str | tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """Ids, and the token types that the model is told, of each text or pair."""
        pooling = self._manifest.pooling
        if pooling and pooling.messages:
            alone = [text for text in texts if isinstance(text, str)]
            return [
                (row.ids, row.type_ids if self._types else []) for row in Framer(pooling.messages, self._text)(alone)
            ]
        encodings = self._text.encode(texts, cut=self._cut)
        if not self._types:
            return [(encoding.ids, []) for encoding in encodings]
        types = Encoder(self._manifest, self._text, self._manifest.task).types(encodings)
        return [(encoding.ids, row) for encoding, row in zip(encodings, types, strict=True)]

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int] | None:
        """A conversation's ids; None where there is no chat template, or it refuses the conversation."""
        if self._text.chat is None:
            return None
        try:
            return self._text.encode([rendered(self._text, messages, None)], special=False)[0].ids
        except InputError:
            return None

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every token's id."""
        return self._text.tokenizer.get_vocab()

    @property
    def special(self) -> list[str]:
        return [token for token in self._text.special.values() if token]

    @property
    def labels(self) -> list[str]:
        """Of a classifier, in the order of its logits."""
        return labels(self._manifest, self._text) if self._manifest.task in LABELLED else []
