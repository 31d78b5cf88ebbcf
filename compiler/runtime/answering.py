"""Extractive question answering: the part of a text that answers a question.

A span's score is the probability that the answer starts with its first token times the probability that it ends with
its last, over all tokens of the text that the model sees at once. Answers are whole words: spans of tokens that cover
the same words add up. A longer text is read in windows that overlap; a span's score is its best window's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
from tokenizers import Encoding

from compiler.engines import Session
from compiler.errors import ContextError, InputError, UsageError
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.scores import softmax
from compiler.runtime.text import Text

TASK = "question-answering"
WINDOW = 384  # tokens of question and text together; what such models are trained on


class Answer(TypedDict):
    """`answer` is context[start:end]."""

    score: float
    start: int
    end: int
    answer: str


class Answerer:
    """Answers with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)
        self._whole = copy.deepcopy(text.tokenizer)
        self._whole.no_truncation()
        self._limit = min(WINDOW, text.limit)
        self._question_first = text.settings.get("padding_side") != "left"
        self._nothing = self._whole.token_to_id(text.special["cls"])  # the token that means "no answer"

    def __call__(
        self,
        session: Session,
        question: str,
        context: str,
        *,
        top_k: int,
        max_answer_length: int,
        doc_stride: int,
        allow_no_answer: bool,
    ) -> list[Answer]:
        """See `Model.answer`."""
        _refuse(question, context, top_k=top_k, max_answer_length=max_answer_length, doc_stride=doc_stride)
        if allow_no_answer and self._nothing is None:
            raise UsageError("the bundle's tokenizer has no token that stands for no answer", expected="a CLS token")
        windows = self._windows(question, context, doc_stride)
        best: dict[tuple[int, int], float] = {}
        nothing = 1.0
        for rows, _, outputs in self._encoder.run(session, windows):
            for row, *logits in zip(rows, outputs["start_logits"], outputs["end_logits"], strict=True):
                starts, ends = (self._probabilities(windows[row], each) for each in logits)
                for span, score in self._spans(windows[row], context, starts, ends, max_answer_length, top_k):
                    best[span] = max(score, best.get(span, 0.0))
                if allow_no_answer:
                    empty = windows[row].ids.index(self._nothing)
                    nothing = min(nothing, float(starts[empty] * ends[empty]))
        answers = [Answer(score=score, start=i, end=j, answer=context[i:j]) for (i, j), score in best.items()]
        if allow_no_answer:
            answers.append(Answer(score=nothing, start=0, end=0, answer=""))
        return sorted(answers, key=lambda answer: (-answer["score"], answer["start"], answer["end"]))[:top_k]

    def _windows(self, question: str, context: str, stride: int) -> list[Encoding]:
        asked, told = self._encoder.text.encode([question, context], special=False, offsets=True, tokenizer=self._whole)
        room = self._limit - len(asked.ids) - self._whole.num_special_tokens_to_add(True)
        if room < 1:
            raise ContextError(
                "the question leaves no room for the text",
                found=f"{len(asked.ids)} tokens",
                expected=f"fewer than {self._limit}",
                action="ask a shorter question",
            )
        if not told.ids:
            raise InputError("the text has no tokens", found=repr(context), expected="some text")
        told.truncate(room, stride=min(stride, room // 2))
        parts = [told, *told.overflowing]
        return [self._whole.post_process(*((asked, part) if self._question_first else (part, asked))) for part in parts]

    def _context(self, window: Encoding) -> np.ndarray:
        """Indices of the window's tokens that are the text's."""
        own = 1 if self._question_first else 0
        return np.flatnonzero([sequence == own for sequence in window.sequence_ids])

    def _probabilities(self, window: Encoding, logits: np.ndarray) -> np.ndarray:
        possible = np.zeros(len(logits), bool)
        possible[self._context(window)] = True
        if self._nothing is not None:
            possible[: len(window.ids)] |= np.array(window.ids) == self._nothing
        return softmax(np.where(possible, logits, -np.inf))

    def _spans(
        self, window: Encoding, context: str, starts: np.ndarray, ends: np.ndarray, longest: int, top_k: int
    ) -> Iterator[tuple[tuple[int, int], float]]:
        """The likeliest spans of words as (start, end) in the text, with their scores."""
        tokens = self._context(window)
        offsets = [window.offsets[token] for token in tokens]
        joint = np.triu(np.outer(starts[tokens], ends[tokens]))
        joint -= np.triu(joint, longest)
        words = [window.word_ids[token] for token in tokens]
        firsts = [
            index
            for index, (start, _) in enumerate(offsets)
            if not index or words[index] != words[index - 1] or any(map(str.isspace, context[start - 1 : start + 1]))
        ]
        scores = np.add.reduceat(np.add.reduceat(joint, firsts, axis=0), firsts, axis=1)
        lasts = [*(index - 1 for index in firsts[1:]), len(offsets) - 1]
        for flat in np.argsort(-scores, axis=None, kind="stable")[:top_k].tolist():
            first, last = divmod(flat, len(firsts))
            if scores[first, last] > 0:
                yield (offsets[firsts[first]][0], offsets[lasts[last]][1]), float(scores[first, last])


def _refuse(question: object, context: object, **counts: int) -> None:
    for name, text in (("question", question), ("context", context)):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"answer() takes a {name}", found=repr(text), expected="a text that is not empty")
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} counts", found=str(count), expected="1 or more")
