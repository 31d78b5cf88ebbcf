"""Texts through an encoder: cut, batched by length, padded where that changes no answer, and run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from tokenizers import Encoding

from compiler.engines import Feeds, Session
from compiler.errors import IntegrityError, UsageError
from compiler.records import Manifest
from compiler.runtime.batching import batches
from compiler.runtime.text import Text
from compiler.tasks import TASKS

BATCH_TOKENS = 512  # a batch's rows times its longest row; larger batches fall out of the CPU's caches

Pair = tuple[str, str]


class Tokens(Protocol):
    """What the model is told of a text: `tokenizers.Encoding`, or what stands for one."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def type_ids(self) -> list[int]: ...


class Batch(NamedTuple):
    """What the model gave for some of the texts: `rows` are their indices.

    `mask` (rows, sequence) bool marks tokens: rows are padded on the right. Arrays of `outputs` begin with (rows, ...).
    """

    rows: list[int]
    mask: np.ndarray
    outputs: Feeds


class Encoder:
    """Runs one bundle's encoder on texts.

    Raises:
        UsageError: the bundle is for another task than `task`.
        IntegrityError: the graph gives other tensors than the manifest says, or not those that the task needs.
    """

    def __init__(self, manifest: Manifest, text: Text, task: str) -> None:
        if manifest.task != task:
            raise UsageError(
                f"this needs a bundle for {task}", found=manifest.task, action=f"build the model with --task {task}"
            )
        self.text = text
        self._inputs = [(tensor.name, np.dtype(tensor.dtype), len(tensor.shape)) for tensor in manifest.inputs]
        self._given = {tensor.name: tensor.shape for tensor in manifest.inputs}
        stated = {tensor.name: tensor.shape for tensor in manifest.outputs}
        needed = TASKS[task].outputs if task in TASKS else ()
        if missing := [name for name in needed if name not in stated]:
            raise IntegrityError(f"a bundle for {task} that gives no {', '.join(missing)}", found=", ".join(stated))
        self._answers = {name: stated[name] for name in needed}
        # Some tokenizers tell no pair's texts apart although the model could.
        told = text.settings.get("model_input_names", ["token_type_ids"])
        self._types = isinstance(told, list) and "token_type_ids" in told
        # A model that gives one answer a text finds the text's end by its padding token, if at all.
        pooled = not any("sequence" in tensor.shape for tensor in manifest.outputs)
        last = not text.pads or text.settings.get("padding_side") == "left"
        self._padded = manifest.padding == "hidden" and not (pooled and last)

    def encode(self, texts: Sequence[str | Pair], *, offsets: bool = False) -> list[Encoding]:
        """Tokens of each text, cut where the checkpoint cuts; `offsets` also tells where in the text they are."""
        return self.text.encode(texts, offsets=offsets)

    def run(self, session: Session, encodings: Sequence[Tokens]) -> Iterator[Batch]:
        """All texts that have tokens, in batches, each text once; in what order is open."""
        lengths = [len(encoding.ids) for encoding in encodings]
        filled = [row for row, length in enumerate(lengths) if length]
        for picked in batches([lengths[row] for row in filled], BATCH_TOKENS, padded=self._padded):
            rows = [filled[index] for index in picked]
            batch = [encodings[row] for row in rows]
            counts = np.array([lengths[row] for row in rows])
            mask = np.arange(counts.max()) < counts[:, None]
            feeds = self._feeds(batch, mask)
            outputs = session.run(feeds)
            self._require_shapes(feeds, outputs)
            yield Batch(rows, mask, outputs)

    def types(self, encodings: Sequence[Tokens]) -> list[list[int]]:
        """Which text of a pair each token belongs to, as far as the model is told."""
        return [encoding.type_ids if self._types else [0] * len(encoding.ids) for encoding in encodings]

    def _require_shapes(self, feeds: Feeds, outputs: Feeds) -> None:
        """What the graph gives is what the manifest says it does: a dim of one name has one size."""
        sizes = {
            dim: size
            for name, shape in self._given.items()
            for dim, size in zip(shape, feeds[name].shape, strict=False)
            if isinstance(dim, str)
        }
        for name, shape in self._answers.items():
            expected = tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in shape)
            found = outputs[name].shape if name in outputs else ()
            if len(found) != len(shape) or any(
                isinstance(size, int) and size != there for size, there in zip(expected, found, strict=True)
            ):
                raise IntegrityError(
                    f'the graph does not give the "{name}" of its manifest',
                    found=str(found) if name in outputs else ", ".join(outputs),
                    expected=str(expected),
                    action="rebuild the bundle",
                )

    def _feeds(self, encodings: Sequence[Tokens], mask: np.ndarray) -> Feeds:
        feeds: Feeds = {}
        for name, dtype, rank in self._inputs:
            match name:
                case "input_ids":
                    feed = _padded([encoding.ids for encoding in encodings], self.text.pad, dtype, mask.shape[1])
                case "attention_mask":
                    feed = mask.astype(dtype)
                case "token_type_ids":
                    feed = _padded(self.types(encodings), 0, dtype, mask.shape[1])
                case "position_ids":
                    feed = np.tile(np.arange(mask.shape[1], dtype=dtype), (len(mask), 1))
                case _:
                    raise UsageError(f'text gives nothing for the input "{name}"', action="use run() with tensors")
            feeds[name] = feed[None] if rank == 3 else feed  # (batch, choices, sequence): all are one row's choices
        return feeds


def _padded(rows: Sequence[Sequence[int]], fill: int, dtype: np.dtype, width: int) -> np.ndarray:
    padded = np.full((len(rows), width), fill, dtype)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded
