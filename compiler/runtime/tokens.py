"""A label for every token, word or entity of a text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding

from compiler.engines import Session
from compiler.errors import InputError, did_you_mean
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.inputs import as_texts, shown
from compiler.runtime.scores import labels, softmax
from compiler.runtime.text import Text

TASK = "token-classification"
Entity = dict[str, Any]
AGGREGATIONS = ("none", "simple", "first", "average", "max")


class Piece(NamedTuple):
    """A token, or a word once its tokens are joined: `scores` (labels,) of text[start:end]."""

    word: str
    scores: np.ndarray
    start: int
    end: int
    position: int
    continues: bool


class TokenClassifier:
    """Classifies tokens with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)
        self._labels = labels(manifest, text)
        self._unknown = text.tokenizer.token_to_id(text.special["unk"])
        self._marks_subwords = bool(getattr(text.tokenizer.model, "continuing_subword_prefix", None))

    def __call__(
        self, session: Session, texts: str | Sequence[str], aggregation: str, ignore: Collection[str]
    ) -> list[Entity] | list[list[Entity]]:
        """See `Model.classify_tokens`."""
        if not isinstance(aggregation, str) or aggregation not in AGGREGATIONS:
            raise InputError(
                f'aggregation "{aggregation}" is unknown',
                expected=", ".join(AGGREGATIONS),
                action=did_you_mean(str(aggregation), AGGREGATIONS),
            )
        inputs, single = as_texts(texts, "classify_tokens()")
        left_out = {*_labels(ignore)}
        encodings = self._encoder.encode(inputs, offsets=True)
        answers: list[list[Entity]] = [[] for _ in inputs]
        for rows, _, outputs in self._encoder.run(session, encodings):
            for row, logits in zip(rows, outputs["logits"], strict=True):
                pieces = list(self._pieces(inputs[row], encodings[row], softmax(logits)))
                found = self._tokens(pieces) if aggregation == "none" else self._entities(pieces, aggregation)
                answers[row] = [each for each in found if each.get("entity", each.get("entity_group")) not in left_out]
        return answers[0] if single else answers

    def _pieces(self, text: str, encoding: Encoding, scores: np.ndarray) -> Iterator[Piece]:
        tokens = zip(
            encoding.ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask, scores, strict=False
        )
        for index, (token, word, (start, end), special, row) in enumerate(tokens):
            if special:
                continue
            if token == self._unknown:
                yield Piece(text[start:end], row, start, end, index, continues=False)
            elif self._marks_subwords:  # the mark makes a token longer than the text it stands for
                yield Piece(word, row, start, end, index, continues=len(word) != end - start)
            else:
                yield Piece(word, row, start, end, index, start > 0 and " " not in text[start - 1 : start + 1])

    def _tokens(self, pieces: Sequence[Piece]) -> Iterator[Entity]:
        for piece in pieces:
            yield {
                "entity": self._label(piece),
                "score": float(piece.scores.max()),
                "index": piece.position,
                "word": piece.word,
                "start": piece.start,
                "end": piece.end,
            }

    def _entities(self, pieces: Sequence[Piece], aggregation: str) -> Iterator[Entity]:
        if aggregation != "simple":
            words = _grouped(pieces, lambda _, piece: piece.continues)
            pieces = [self._joined(word, aggregation) for word in words]
        for entity in _grouped(pieces, lambda last, piece: _follows(self._label(last), self._label(piece))):
            yield {
                "entity_group": self._label(entity[0]).split("-", 1)[-1],
                "score": float(np.mean([piece.scores.max() for piece in entity])),
                "word": self._spelled(entity),
                "start": entity[0].start,
                "end": entity[-1].end,
            }

    def _joined(self, word: Sequence[Piece], aggregation: str) -> Piece:
        match aggregation:
            case "first":
                scores = word[0].scores
            case "max":
                scores = max(word, key=lambda piece: float(piece.scores.max())).scores
            case _:
                scores = np.mean([piece.scores for piece in word], axis=0)
        return word[0]._replace(word=self._spelled(word), scores=scores, end=word[-1].end)

    def _spelled(self, pieces: Sequence[Piece]) -> str:
        words = [piece.word for piece in pieces]
        decoder = self._encoder.text.tokenizer.decoder
        return str(decoder.decode(words)) if decoder is not None else " ".join(words)

    def _label(self, piece: Piece) -> str:
        return self._labels[int(piece.scores.argmax())]


def _labels(ignore: Any) -> Collection[str]:
    if isinstance(ignore, str) or not isinstance(ignore, Collection) or not all(isinstance(e, str) for e in ignore):
        raise InputError("ignore takes a list of labels", found=shown(ignore), expected="strings")
    return ignore


def _grouped(pieces: Sequence[Piece], belongs: Callable[[Piece, Piece], bool]) -> Iterator[list[Piece]]:
    """Runs of pieces: `belongs(last, piece)` says whether a piece goes on with the run."""
    group: list[Piece] = []
    for piece in pieces:
        if group and not belongs(group[-1], piece):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _follows(last: str, label: str) -> bool:
    """Whether a label goes on with the entity of the one before it; B- begins a new one."""
    return not label.startswith("B-") and _kind(label) == _kind(last)


def _kind(label: str) -> str:
    return label[2:] if label.startswith(("B-", "I-")) else label
