"""Tokens that do not belong where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from compiler.engines import Session
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.inputs import as_texts
from compiler.runtime.scores import sigmoid
from compiler.runtime.text import Text

TASK = "replaced-token-detection"


class Suspect(TypedDict):
    """A token of text[start:end] and the probability that it was replaced."""

    index: int
    word: str
    score: float
    start: int
    end: int


class ReplacementDetector:
    """Judges tokens with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)

    def __call__(self, session: Session, texts: str | Sequence[str]) -> list[Suspect] | list[list[Suspect]]:
        """See `Model.detect_replaced`."""
        inputs, single = as_texts(texts, "detect_replaced()")
        encodings = self._encoder.encode(inputs, offsets=True)
        answers: list[list[Suspect]] = [[] for _ in inputs]
        for rows, _, outputs in self._encoder.run(session, encodings):
            for row, logits in zip(rows, outputs["logits"], strict=True):
                encoding, scores = encodings[row], sigmoid(logits).tolist()
                answers[row] = [
                    Suspect(index=index, word=encoding.tokens[index], score=scores[index], start=start, end=end)
                    for index, (start, end) in enumerate(encoding.offsets)
                    if not encoding.special_tokens_mask[index]
                ]
        return answers[0] if single else answers
