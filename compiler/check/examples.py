"""What an encoder is asked: the task's kind of text, alone, in padded batches, and beside texts of rare tokens."""

from __future__ import annotations

import numpy as np

from compiler.check.feeds import Feeds, Pair, Text
from compiler.check.meanings import TOKENWISE
from compiler.records import Manifest

BATCH = 8
LENGTHS = (12, 128, 4, 64, 23, 96, 3, 2)  # tokens of the texts in a batch, special tokens included
MASK_EVERY = 7  # tokens; a model that fills in words is shown gaps
CHOICES = 3
COMPANY, ROUNDS = 64, 6  # tokens of a text beside others, and batches

# One answer a text, so a share of agreement needs more texts to begin with.
TEXTS = {"text-classification": 32, "next-sentence-prediction": 32, "question-answering": 32, "multiple-choice": 16}
MOST = 1024  # texts, where a share stays undecided

# Every so manieth text is a pair. Other tasks have them where the model tells a pair's texts apart.
PAIRS = {"text-classification": 2, "next-sentence-prediction": 1, "question-answering": 1, "multiple-choice": 1}
OTHER_PAIRS = 4


def spread_tokens(vocabulary: int, shape: tuple[int, ...]) -> np.ndarray:
    """Every token in turn, as often as there is room; of a larger vocabulary tokens evenly spread: `shape` int64."""
    count = int(np.prod(shape))
    places = np.arange(count)
    if vocabulary > count:
        places = np.linspace(0, vocabulary - 1, count).astype(np.int64)
    return (places % vocabulary).reshape(shape)


class Examples:
    """Feeds for one task, made when they are asked for.

    Args:
        manifest: says the task, and the context that the longest text fills.
        text: what they are made of.

    Attributes:
        batches: how many batches of `BATCH` texts are asked to begin with.
        most: and how many at most; the text has no more without repeating itself.

    Raises:
        InputError: the graph wants something that is not made of text.
    """

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._task, self._context, self._text = manifest.task, manifest.context_length, text
        self._vocabulary = manifest.vocabulary
        # The mask also says which answers count, if the graph has no use for it (FNet).
        self._names = list(dict.fromkeys([*(tensor.name for tensor in manifest.inputs), "attention_mask"]))
        self._choices = CHOICES if self._task == "multiple-choice" else 1
        self._every = PAIRS.get(self._task, OTHER_PAIRS if "token_type_ids" in self._names else 0)
        # A model that looks for a text's last token by its padding takes no batch of unequal texts without it.
        ends = text.config.get("pad_token_id") is None or text.marks.left
        unpadded = ends and bool(text.config) and self._task not in TOKENWISE
        self._equal = unpadded or manifest.padding != "hidden"
        self.batches = max(TEXTS.get(self._task, BATCH) // BATCH, len(LENGTHS) if self._equal else 1)
        a_batch = sum(LENGTHS) * self._choices * (2 if self._every == 1 else 1)
        self.most = max(self.batches, min(MOST // BATCH, text.tokens // a_batch))

    def longest(self) -> Feeds:
        """One text as long as the context."""
        return self._feed(self._pieces([self._context] * self._choices, 0))

    def batch(self, number: int) -> Feeds:
        """A batch of `BATCH` texts; no two batches have a text in common.

        Texts are of many lengths, and padded. Where the runtime pads none, they are of one length, another one in the
        next batch.
        """
        return self._feed(self._of_batch(number))

    def alone(self) -> list[Feeds]:
        """The texts of the first batch, one by one; then, where those are of one length, a text of each other one."""
        pieces, choices = self._of_batch(0), self._choices
        if self._equal:
            for number in range(1, len(LENGTHS)):
                pieces += self._of_batch(number)[:choices]
        return [self._feed(pieces[i : i + choices]) for i in range(0, len(pieces), choices)]

    def company(self) -> tuple[list[Feeds], list[Feeds]]:
        """A few texts one by one, and the same in batches, each time before others that together have every token.

        All are of one length. Of a large vocabulary the others have tokens evenly spread over it.
        """
        length, choices = min(COMPANY, self._context), self._choices
        texts = self._text.pieces([length] * (BATCH // 2 * choices), 0)
        alone = [self._feed(list(texts[i : i + choices])) for i in range(0, len(texts), choices)]
        return alone, [self._feed([*texts, *each]) for each in self._others()]

    def rare(self) -> list[Feeds]:
        """Batches of those others alone, which have tokens that running text lacks."""
        return [self._feed(list(each)) for each in self._others()]

    def _others(self) -> np.ndarray:
        return spread_tokens(self._vocabulary, (ROUNDS, BATCH // 2 * self._choices, min(COMPANY, self._context)))

    def _of_batch(self, number: int) -> list[np.ndarray | Pair]:
        count = BATCH * self._choices
        if self._equal:
            length = max(LENGTHS[number % len(LENGTHS)], self._text.least_pair if self._every else 0)
            return self._pieces([min(length, self._context)] * count, number)
        return self._pieces([min(LENGTHS[i % len(LENGTHS)], self._context) for i in range(count)], number)

    def _pieces(self, lengths: list[int], number: int) -> list[np.ndarray | Pair]:
        pieces: list[np.ndarray | Pair] = list(self._text.pieces(lengths, number * sum(lengths)))
        if every := self._every:
            pieces[every - 1 :: every] = self._text.pairs(lengths[every - 1 :: every], number)
        if self._task == "fill-mask" and (mask := self._text.marks.mask) is not None:
            for piece in pieces:
                ids = piece[0] if isinstance(piece, tuple) else piece
                ids[MASK_EVERY // 2 : -1 : MASK_EVERY] = mask
        return pieces

    def _feed(self, pieces: list[np.ndarray | Pair]) -> Feeds:
        batch = self._text.batch(pieces, self._names)
        if self._task != "multiple-choice":
            return batch
        return {name: array.reshape(-1, self._choices, array.shape[-1]) for name, array in batch.items()}
