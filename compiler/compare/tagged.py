"""Answers that are one for every word: its label, or whether it was replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from compiler.compare.asked import Asked, Item, Question, Scores
from compiler.runtime.encoding import Encoder
from compiler.runtime.scores import labels, softmax

Words = tuple[str, ...]
NO_TOKEN: Scores = {"O": 1.0}  # of a word behind the model's context


def every_word(_baseline: Asked, _candidate: Asked, items: Sequence[Item]) -> Iterator[Question]:
    """A question for every word."""
    for index, item in enumerate(items):
        for place in range(len(item["words"])):
            yield Question(index, {**item, "place": place}, place)


def tagged(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    """Of the word at each item's place, the probability of every label: its first token's."""
    manifest = asked.model.manifest
    names = labels(manifest, asked.text)
    encoder = Encoder(manifest, asked.text, manifest.task)
    texts = _distinct(items)
    encodings = encoder.encode([" ".join(words) for words in texts], offsets=True)
    found: dict[Words, dict[int, Scores]] = {}
    for rows, _, outputs in encoder.run(asked.session, encodings):
        for row, logits in zip(rows, outputs["logits"], strict=True):
            encoding, words = encodings[row], found.setdefault(texts[row], {})
            begins = _begins(texts[row])
            for token, scores in enumerate(softmax(logits[: len(encoding.ids)])):
                if not encoding.special_tokens_mask[token]:
                    word = _word(begins, encoding.offsets[token][0])
                    words.setdefault(word, dict(zip(names, scores.tolist(), strict=True)))
    return [found.get(tuple(item["words"]), {}).get(item["place"], NO_TOKEN) for item in items]


def flagged(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    """Of the word at each item's place, whether it was replaced: its most suspicious token's probability."""
    texts = _distinct(items)
    suspects = cast("Any", asked.model.detect_replaced([" ".join(words) for words in texts]))
    found: dict[Words, dict[int, float]] = {}
    for words, tokens in zip(texts, suspects, strict=True):
        begins, scores = _begins(words), found.setdefault(words, {})
        for token in tokens:
            word = _word(begins, token["start"])
            scores[word] = max(scores.get(word, 0.0), token["score"])
    chosen = [found[tuple(item["words"])].get(item["place"], 0.0) for item in items]
    return [{"replaced": score, "original": 1 - score} for score in chosen]


def _distinct(items: Sequence[Item]) -> list[Words]:
    """Every text once, though many items ask about its words."""
    return list(dict.fromkeys(tuple(item["words"]) for item in items))


def _begins(words: Words) -> np.ndarray:
    """Where each word begins once there are spaces between them."""
    return np.cumsum([0, *(len(word) + 1 for word in words[:-1])])


def _word(begins: np.ndarray, place: int) -> int:
    """The word that the character at `place` belongs to."""
    return int(np.searchsorted(begins, place, side="right")) - 1
