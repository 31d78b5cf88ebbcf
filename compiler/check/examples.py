"""What an encoder is asked: the task's kind of text, alone and in padded batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.check.feeds import Feeds, Pair, Text
from compiler.check.meanings import TOKENWISE
from compiler.records import Manifest

BATCH = 8
LENGTHS = (12, 128, 5, 64, 23, 96, 3, 41)  # tokens of the texts in a batch, special tokens included
LONGEST = 512  # one text alone is as long as the context, up to this
MASK_EVERY = 7  # tokens; a model that fills in words is shown gaps
CHOICES = 3

# One answer a text, so a share of agreement needs more texts.
TEXTS = {"text-classification": 32, "next-sentence-prediction": 32, "question-answering": 32, "multiple-choice": 16}

# Every so manieth text is a pair. Other tasks have them where the model tells a pair's texts apart.
PAIRS = {"text-classification": 2, "next-sentence-prediction": 1, "question-answering": 1, "multiple-choice": 1}
OTHER_PAIRS = 4


@dataclass(frozen=True)
class Examples:
    """Feeds for one task.

    Attributes:
        together: batches of `BATCH` texts, padded.
        alone: the texts of the first batch, one by one.
        longest: one long text.
    """

    together: list[Feeds]
    alone: list[Feeds]
    longest: Feeds

    @property
    def feeds(self) -> list[Feeds]:
        """All of them, in the order of the attributes."""
        return [*self.together, *self.alone, self.longest]


def examples(manifest: Manifest, text: Text) -> Examples:
    """Texts for the manifest's task, within its context.

    Raises:
        InputError: the graph wants something that is not made of text.
    """
    task, context = manifest.task, manifest.context_length
    names = [tensor.name for tensor in manifest.inputs]
    count = TEXTS.get(task, BATCH)
    choices = CHOICES if task == "multiple-choice" else 1
    # A model that looks for a text's last token by its padding takes no batch of unequal texts without it.
    ends = text.config.get("pad_token_id") is None or text.settings.get("padding_side") == "left"
    equal = ends and bool(text.config) and task not in TOKENWISE
    lengths = [min(LENGTHS[i // BATCH if equal else i % BATCH], context) for i in range(count * choices)]
    lengths += [min(LONGEST, context)] * choices
    pieces: list[np.ndarray | Pair] = list(text.pieces(lengths))
    if every := PAIRS.get(task, OTHER_PAIRS if "token_type_ids" in names else 0):
        pieces[every - 1 :: every] = text.pairs(lengths[every - 1 :: every])
    if task == "fill-mask" and text.mask is not None:
        for piece in pieces[:count]:
            ids = piece[0] if isinstance(piece, tuple) else piece
            ids[MASK_EVERY // 2 : -1 : MASK_EVERY] = text.mask

    def feed(start: int, texts: int) -> Feeds:
        batch = text.batch(pieces[start * choices : (start + texts) * choices], names)
        if task != "multiple-choice":
            return batch
        return {name: array.reshape(texts, choices, -1) for name, array in batch.items()}

    return Examples(
        together=[feed(start, BATCH) for start in range(0, count, BATCH)],
        alone=[feed(index, 1) for index in range(BATCH)],
        longest=feed(count, 1),
    )
