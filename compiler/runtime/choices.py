"""The best of several continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from compiler.engines import Session
from compiler.errors import InputError
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.inputs import as_list, as_text, shown
from compiler.runtime.scores import softmax
from compiler.runtime.text import Text

TASK = "multiple-choice"


class Choice(TypedDict):
    """The likeliest choice, its place in the list that was given, and the probability of each."""

    index: int
    choice: str
    probabilities: list[float]


class Chooser:
    """Chooses with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)

    def __call__(self, session: Session, prompt: str, choices: Sequence[str]) -> Choice:
        """See `Model.choose`."""
        as_text(prompt, "prompt")
        candidates = as_list(choices, "choose()")
        if not candidates:
            raise InputError("nothing to choose from", found="[]", expected="one or more choices")
        encodings = self._encoder.encode([(prompt, choice) for choice in candidates])
        logits = np.full(len(candidates), -np.inf, np.float32)
        for rows, _, outputs in self._encoder.run(session, encodings):
            logits[rows] = outputs["logits"][0]
        if np.isneginf(logits).any():
            raise InputError(
                "a choice has no tokens", found=shown(candidates[int(logits.argmin())]), expected="some text"
            )
        best = int(logits.argmax())
        return Choice(index=best, choice=candidates[best], probabilities=softmax(logits).tolist())
