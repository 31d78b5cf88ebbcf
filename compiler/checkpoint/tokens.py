"""What transformers itself makes of texts, conversations and labels, from a checkpoint as its author saved it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from compiler.checkpoint import sentence
from compiler.checkpoint.load import load_tokenizer
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.resolve import Checkpoint
from compiler.checkpoint.sentence.read import Reader
from compiler.errors import CheckpointError
from compiler.reading import foreign
from compiler.records import Manifest
from compiler.tasks import TASKS

LABELLED = frozenset({"text-classification", "token-classification"})


class Tokens:
    """The reference side of the comparison of tokens.

    A GGUF file has no tokenizer that transformers reads as llama.cpp does, so there it is the converted one.

    Args:
        checkpoint: what the bundle was made of.
        manifest: the bundle's; an encoder's texts are cut at its context, or before.

    Raises:
        CheckpointError: transformers cannot load the tokenizer.
    """

    def __init__(self, checkpoint: Checkpoint, manifest: Manifest) -> None:
        converted = not checkpoint.reference.is_dir()
        folder = checkpoint.folder if converted else checkpoint.reference
        self.basis = "the tokenizer converted from the GGUF file" if converted else "transformers"
        self._folder, self._task = folder, (task := manifest.task)
        self._types = any(tensor.name == "token_type_ids" for tensor in manifest.inputs)
        self._tokenizer = load_tokenizer(folder)
        # The windows of a question's context are cut by what answers it.
        cuts = TASKS[task].kind == "encoder" and task != "question-answering"
        declared = sentence.task_of(folder) == task
        with foreign(CheckpointError, f"{folder}: how texts are read cannot be told"):
            self._reader = Reader(folder, self._tokenizer) if declared else None
            length = self._reader.length if self._reader else self._tokenizer.model_max_length
            self.limit = int(min(manifest.context_length, length)) if cuts else 0

    def rows(self, texts: Sequence[str | tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """Ids, and the token types that the model is told, of each text or pair."""
        return [self._row(*((text,) if isinstance(text, str) else text)) for text in texts]

    def _row(self, *text: str) -> tuple[list[int], list[int]]:
        cut: dict[str, Any] = {"truncation": True, "max_length": self.limit} if self.limit else {}
        with foreign(CheckpointError, f"{self._folder}: the tokenizer fails at plain text"), quiet():
            if self._reader and self._reader.templated:
                return (ids := self._reader.ids(text[0], self.limit)), [0] * len(ids) if self._types else []
            encoded = self._tokenizer(*map(self._reader.small, text) if self._reader else text, **cut)
            ids = list(encoded["input_ids"])
            return ids, list(encoded.get("token_type_ids", [0] * len(ids))) if self._types else []

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int] | None:
        """A conversation's ids by the chat template; None where there is none, or it refuses the conversation."""
        try:
            with foreign(CheckpointError, "the chat template fails"), quiet():
                return list(
                    self._tokenizer.apply_chat_template(
                        [dict(message) for message in messages],
                        add_generation_prompt=True,
                        tokenize=True,
                        return_dict=False,
                    )
                )
        except CheckpointError:  # a template is a program: it can fail in any way
            return None

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every token's id."""
        return dict(self._tokenizer.get_vocab())

    @property
    def special(self) -> list[str]:
        return [str(token) for token in self._tokenizer.all_special_tokens]

    @cached_property
    def labels(self) -> list[str]:
        """Of a classifier, in the order of its logits."""
        if self._task not in LABELLED:
            return []
        from transformers import AutoConfig

        with foreign(CheckpointError, f"{self._folder}: the labels cannot be read"), quiet():
            config = AutoConfig.from_pretrained(self._folder, local_files_only=True, trust_remote_code=False)
            return [str(config.id2label[index]) for index in sorted(config.id2label)]
