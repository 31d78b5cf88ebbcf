"""Labels for a text or a pair of texts, and texts ranked for a query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np

from compiler.engines import Session
from compiler.errors import InputError, did_you_mean
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder, Pair
from compiler.runtime.inputs import as_count, as_list, as_text, shown
from compiler.runtime.pairs import single
from compiler.runtime.scores import labels, margins, sigmoid, softmax
from compiler.runtime.text import Text

TASK = "text-classification"
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda logits: logits,
}


class Label(TypedDict):
    label: str
    score: float


class Ranked(TypedDict):
    """A text and its index in the list that was given."""

    index: int
    score: float
    text: str


class Classifier:
    """Classifies with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)
        self._labels = labels(manifest, text)
        self._function = manifest.activation or self._trained_for(text.config.get("problem_type"))

    def _trained_for(self, problem: object) -> str:
        if problem == "regression":
            return "none"
        return "sigmoid" if problem == "multi_label_classification" or len(self._labels) == 1 else "softmax"

    def classify(
        self,
        session: Session,
        inputs: str | Pair | Sequence[str | Pair],
        top_k: int | None,
        function: str | None,
    ) -> list[Label] | list[list[Label]]:
        """See `Model.classify`."""
        if top_k is not None:
            as_count(top_k, "top_k")
        if function is not None and (not isinstance(function, str) or function not in FUNCTIONS):
            raise InputError(
                f"function {shown(function)} is unknown",
                expected=", ".join(FUNCTIONS),
                action=did_you_mean(str(function), FUNCTIONS),
            )
        one = isinstance(inputs, str | tuple)
        each: list[Any] = [inputs] if one else list(inputs) if isinstance(inputs, Sequence) else [inputs]
        for item in each:
            if not isinstance(item, str) and not _is_pair(item):
                raise InputError(
                    "classify() takes a text, a pair, or a list of them",
                    found=shown(item),
                    expected='"text" or ("a", "b")',
                )
        logits = self._logits(session, [single(item) for item in each])
        scores = FUNCTIONS[function or self._function](logits)
        answers = [self._named(*row)[:top_k] for row in zip(logits, scores, strict=True)]
        return answers[0] if one else answers

    def rerank(self, session: Session, query: str, texts: Sequence[str]) -> list[Ranked]:
        """See `Model.rerank`."""
        as_text(query, "query")
        candidates = as_list(texts, "rerank()")
        logits = self._logits(session, [(query, text) for text in candidates])
        scores = FUNCTIONS[self._function](logits)[:, -1].tolist()
        # Far from 0 scores become equal where logits are not, so these decide the order.
        order = margins(logits) if self._function == "softmax" else logits[:, -1]
        best = np.argsort(-order, kind="stable").tolist()
        return [Ranked(index=index, score=scores[index], text=candidates[index]) for index in best]

    def _logits(self, session: Session, inputs: Sequence[str | Pair]) -> np.ndarray:
        encodings = self._encoder.encode(inputs)
        for index, encoding in enumerate(encodings):
            if not encoding.ids:
                raise InputError(f"text {index} has no tokens", found=shown(inputs[index]), expected="some text")
        logits = np.zeros((len(inputs), len(self._labels)), np.float32)
        for rows, _, outputs in self._encoder.run(session, encodings):
            logits[rows] = outputs["logits"]
        return logits

    def _named(self, logits: np.ndarray, scores: np.ndarray) -> list[Label]:
        """All labels, best first; equal ones in the checkpoint's order."""
        order = np.argsort(-logits, kind="stable").tolist()
        return [Label(label=self._labels[index], score=float(scores[index])) for index in order]


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(text, str) for text in item)
