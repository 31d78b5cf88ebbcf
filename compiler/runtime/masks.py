"""The words that fit where a text is masked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from compiler.engines import Session
from compiler.errors import InputError, UsageError
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.inputs import as_count, as_texts, shown
from compiler.runtime.scores import softmax
from compiler.runtime.text import Text
from compiler.runtime.tidying import tidied

TASK = "fill-mask"


class Filling(TypedDict):
    """One token for a mask; `sequence` is the whole text with it."""

    score: float
    token: int
    token_str: str
    sequence: str


Fillings = list[Filling] | list[list[Filling]]


class MaskFiller:
    """Fills masks with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)
        self._tokenizer = text.tokenizer
        self._token = text.special["mask"]
        mask = self._tokenizer.token_to_id(self._token) if self._token else None
        if mask is None:
            raise UsageError(
                "the bundle's tokenizer has no mask token", action="build a model that was trained with one"
            )
        self._mask: int = mask
        self._pad = self._tokenizer.token_to_id(text.special["pad"])
        self._tidies = text.tidies

    def __call__(
        self, session: Session, texts: str | Sequence[str], top_k: int, targets: str | Sequence[str] | None
    ) -> Fillings | list[Fillings]:
        """See `Model.fill_mask`."""
        as_count(top_k, "top_k")
        among = None if targets is None else self._targets(as_texts(targets, "targets")[0])
        inputs, single = as_texts(texts, "fill_mask()")
        encodings = self._encoder.encode(inputs)
        ids = [np.array(encoding.ids) for encoding in encodings]
        for text, tokens in zip(inputs, ids, strict=True):
            if self._mask not in tokens:
                cut = self._token in text
                raise InputError(
                    "the mask lies behind the end of the model's context" if cut else "the text has no mask token",
                    found=shown(text),
                    expected=f"{self._token} within the first {self._encoder.text.limit} tokens"
                    if cut
                    else self._token,
                )
        answers: dict[int, Fillings] = {}
        for rows, _, outputs in self._encoder.run(session, encodings):
            for row, logits in zip(rows, outputs["logits"], strict=True):
                answers[row] = self._fill(ids[row], logits, top_k, among)
        ordered = [answers[row] for row in range(len(inputs))]
        return ordered[0] if single else ordered

    def _fill(self, ids: np.ndarray, logits: np.ndarray, top_k: int, among: np.ndarray | None) -> Fillings:
        places = np.flatnonzero(ids == self._mask)
        found: list[list[Filling]] = []
        for place, scores in zip(places, softmax(logits[places]), strict=True):
            among_all = np.arange(len(scores)) if among is None else among
            best = among_all[np.argsort(-scores[among_all], kind="stable")[:top_k]]
            filled = ids.copy()
            row = []
            for token in best.tolist():
                filled[place] = token
                row.append(
                    Filling(
                        score=float(scores[token]),
                        token=token,
                        token_str=self._decode([token], skip_special=False),
                        sequence=self._decode(filled[filled != self._pad].tolist(), skip_special=len(places) == 1),
                    )
                )
            found.append(row)
        return found[0] if len(found) == 1 else found

    def _decode(self, ids: list[int], skip_special: bool) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=skip_special)
        return tidied(text) if self._tidies else text

    def _targets(self, words: Sequence[str]) -> np.ndarray:
        """Token ids of the words; a word of several tokens counts as its first, with a warning."""
        found = set()
        for word in words:
            ids = self._encoder.text.encode([word], special=False)[0].ids  # refuses what is no Unicode
            token = self._tokenizer.token_to_id(word)
            if token is None:
                if not ids:
                    raise InputError("a target has no tokens", found=shown(word), expected="a word")
                token = ids[0]
                warnings.warn(
                    f'"{word}" is not one token of the model; "{self._tokenizer.id_to_token(token)}" stands for it',
                    stacklevel=4,
                )
            found.add(token)
        if not found:
            raise InputError("no targets to choose from", found="[]", expected="one or more words")
        return np.array(sorted(found))
