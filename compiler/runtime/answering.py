"""Extractive question answering: the part of a text that answers a question.

A span's score is the probability that the answer starts with its first token times the probability that it ends with
its last, over all tokens of the text that the model sees at once. Answers are whole words: spans of tokens that cover
the same words add up. A longer text is read in windows that overlap; a span's score is its best window's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, TypedDict

import numpy as np
from tokenizers import Encoding

from compiler.engines import Session
from compiler.errors import ContextError, InputError, UsageError
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.inputs import as_count, as_text, shown
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


class Window(NamedTuple):
    """A question and a part of the text as one input.

    `tokens` are the places of the text's tokens in it, `words` where among these a word begins, and `bounds` is each
    word's (start, end) in the text.
    """

    encoding: Encoding
    tokens: np.ndarray
    words: list[int]
    bounds: list[tuple[int, int]]


class Answerer:
    """Answers with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)
        self._limit = min(WINDOW, text.limit)
        self._question_first = text.settings.get("padding_side") != "left"
        self._nothing = text.tokenizer.token_to_id(text.special["cls"])  # the token that means "no answer"

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
        if not isinstance(allow_no_answer, bool):
            raise InputError("allow_no_answer", found=shown(allow_no_answer), expected="True or False")
        _refuse(question, context, top_k=top_k, max_answer_length=max_answer_length, doc_stride=doc_stride)
        if allow_no_answer and self._nothing is None:
            raise UsageError("the bundle's tokenizer has no token that stands for no answer", expected="a CLS token")
        windows = self._windows(question, context, doc_stride)
        best: dict[tuple[int, int], float] = {}
        nothing = 1.0
        for rows, _, outputs in self._encoder.run(session, [window.encoding for window in windows]):
            for row, *logits in zip(rows, outputs["start_logits"], outputs["end_logits"], strict=True):
                starts, ends = (self._probabilities(windows[row], each) for each in logits)
                for span, score in islice(_spans(windows[row], starts, ends, max_answer_length), top_k):
                    best[span] = max(score, best.get(span, 0.0))
                if allow_no_answer and self._nothing is not None:
                    empty = windows[row].encoding.ids.index(self._nothing)
                    nothing = min(nothing, float(starts[empty] * ends[empty]))
        answers = [Answer(score=score, start=i, end=j, answer=context[i:j]) for (i, j), score in best.items()]
        if allow_no_answer:
            answers.append(Answer(score=nothing, start=0, end=0, answer=""))
        return sorted(answers, key=lambda answer: (-answer["score"], answer["start"], answer["end"]))[:top_k]

    def _windows(self, question: str, context: str, stride: int) -> list[Window]:
        text = self._encoder.text
        asked, told = text.encode([question, context], special=False, offsets=True, cut=False)
        room = self._limit - len(asked.ids) - text.whole.num_special_tokens_to_add(True)
        if room < 1:
            raise ContextError(
                "the question leaves no room for the text",
                found=f"{len(asked.ids)} tokens",
                expected=f"fewer than {self._limit}",
                action="ask a shorter question",
            )
        if not told.ids:
            raise InputError("the text has no tokens", found=shown(context), expected="some text")
        told.truncate(room, stride=min(stride, room // 2))
        windows = []
        for part in (told, *told.overflowing):
            whole = text.whole.post_process(*((asked, part) if self._question_first else (part, asked)))
            own = np.flatnonzero(np.array(whole.special_tokens_mask) == 0)
            tokens = own[len(asked.ids) :] if self._question_first else own[: len(part.ids)]
            windows.append(Window(whole, tokens, *_words(part, context)))
        return windows

    def _probabilities(self, window: Window, logits: np.ndarray) -> np.ndarray:
        possible = np.zeros(len(logits), bool)
        possible[window.tokens] = True
        if self._nothing is not None:
            possible[: len(window.encoding.ids)] |= np.array(window.encoding.ids) == self._nothing
        return softmax(np.where(possible, logits, -np.inf))


def _spans(
    window: Window, starts: np.ndarray, ends: np.ndarray, longest: int
) -> Iterator[tuple[tuple[int, int], float]]:
    """Spans of words as (start, end) in the text, with their scores, likeliest first."""
    joint = np.triu(np.outer(starts[window.tokens], ends[window.tokens]))
    joint -= np.triu(joint, longest)
    scores = np.add.reduceat(np.add.reduceat(joint, window.words, axis=0), window.words, axis=1)
    for place in np.argsort(-scores, axis=None, kind="stable").tolist():
        first, last = divmod(place, len(window.words))
        if scores[first, last] <= 0:
            return
        yield (window.bounds[first][0], window.bounds[last][1]), float(scores[first, last])


def _words(part: Encoding, context: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Where words begin among the tokens, and each word's (start, end) in the text.

    A space also begins a word: some tokenizers take a whole text for one.
    """
    ids, offsets = part.word_ids, part.offsets
    firsts = [
        place
        for place, (start, _) in enumerate(offsets)
        if not place or ids[place] != ids[place - 1] or _spaced(context[max(start - 1, 0) : start + 1])
    ]
    return firsts, [
        (offsets[first][0], offsets[following - 1][1])
        for first, following in zip(firsts, [*firsts[1:], len(offsets)], strict=True)
    ]


def _spaced(text: str) -> bool:
    return any(map(str.isspace, text))


def _refuse(question: object, context: object, **counts: int) -> None:
    for name, text in (("question", question), ("context", context)):
        if not as_text(text, name).strip():
            raise InputError(f"{name} is empty", expected="some text")
    for name, count in counts.items():
        as_count(count, name)
