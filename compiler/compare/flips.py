"""Which answers flipped from the baseline to the candidate, and the tokens that decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from compiler.compare.answers import ANSWERS, Answering
from compiler.compare.asked import Asked, Item, Question, Scores
from compiler.compare.occlusion import without_each_part
from compiler.errors import UsageError
from compiler.progress import Report, unreported
from compiler.records.comparison import Flip, Flips, Token

EXPLAINED = 20  # flips, those with the largest swing; hiding every token costs a call each
TOKENS = 5  # named of each
PART = 64  # items that are answered between two reports of progress


def answering(task: str) -> Answering:
    """How items of a task are answered. Raises UsageError for a task whose answers cannot flip."""
    if task not in ANSWERS:
        raise UsageError(
            f"flipped answers are not supported for {task}", expected=", ".join(ANSWERS), action="leave out --data"
        )
    return ANSWERS[task]


def flips(
    baseline: Asked,
    candidate: Asked,
    items: Sequence[Item],
    *,
    data: str,
    rows: Sequence[int] | None = None,
    include_texts: bool = False,
    progress: Report = unreported,
) -> Flips:
    """Both models on the same items.

    Args:
        baseline: the model whose answers were given so far.
        candidate: the one that is to replace it, for the same task.
        items: with the fields that the task needs; see `answers.ANSWERS`.
        data: what the items are called.
        rows: of the data, which each item is; None is all of them.
        include_texts: put texts and tokens into the record, which else holds numbers and labels only.
        progress: called with a message, the steps done and their number.

    Raises:
        UsageError: the answers of this task, or of a model with a single label, cannot flip.
        InputError: an item does not fit the task.
    """
    both = Both(baseline, candidate, answering(baseline.model.manifest.task))
    found: list[Found] = []
    answers = 0
    for start in range(0, len(items), PART):
        progress("answers of both", start, len(items))
        asked, more = both.found(items, start)
        answers += asked
        found += more
    found.sort(key=lambda each: -each.flip.swing)
    explained = found[:EXPLAINED]
    for place, each in enumerate(explained):
        progress("tokens that decided", place, len(explained))
        found[place] = each._replace(flip=both.explained(each, include_texts))
    return Flips(
        data=data,
        items=len(items),
        answers=answers,
        flips=tuple(both.shown(each, rows, include_texts) for each in found),
    )


class Found(NamedTuple):
    """A flip, and what was asked."""

    flip: Flip
    about: Item


class Both(NamedTuple):
    """Two models on the same items, by their task's way to answer."""

    baseline: Asked
    candidate: Asked
    way: Answering

    def found(self, items: Sequence[Item], start: int) -> tuple[int, list[Found]]:
        """How many answers a part of the items has, and those that differ. Raises UsageError; see `flips`."""
        part = items[start : start + PART]
        questions = list(self.way.questions(self.baseline, self.candidate, part))
        scored = self.scores([question.about for question in questions])
        if scored and all(len(scores) < 2 for pair in scored for scores in pair):
            raise UsageError("answers of a model with a single label cannot flip", action="leave out --data")
        pairs = zip(questions, scored, strict=True)
        flipped = [(question, flip) for question, scores in pairs if (flip := _flip(question, start, *scores))]
        # Where only those items are asked about whose answers differ, the others have one answer each.
        count = max(len(questions), len(part))
        return count, [Found(flip, question.about) for question, flip in flipped]

    def scores(self, items: Sequence[Item]) -> list[tuple[Scores, Scores]]:
        if not items:
            return []
        return list(zip(*(self.way.scores(side, items) for side in (self.baseline, self.candidate)), strict=True))

    def explained(self, found: Found, include_texts: bool) -> Flip:
        """The flip with the tokens that decided."""
        flip = found.flip
        hidden = without_each_part(found.about, self.way.occluded, self.baseline.text)
        swings = [
            sum(_margins(*scores, flip.baseline, flip.candidate))
            for scores in self.scores([each.item for each in hidden])
        ]
        tokens = [
            Token(index=each.place, influence=flip.swing - swing, text=each.text if include_texts else None)
            for each, swing in zip(hidden, swings, strict=True)
        ]
        tokens.sort(key=lambda token: -abs(token.influence))
        return msgspec.structs.replace(flip, tokens=tuple(tokens[:TOKENS]))

    def shown(self, found: Found, rows: Sequence[int] | None, include_texts: bool) -> Flip:
        """The flip with its row in the data; with texts, its answers and its item are as a person reads them."""
        flip, about = found
        if rows is not None:
            flip = msgspec.structs.replace(flip, item=rows[flip.item])
        if not include_texts:
            return flip
        before, after = (
            self.way.shown(side, about, answer)
            for side, answer in ((self.baseline, flip.baseline), (self.candidate, flip.candidate))
        )
        fields = (*self.way.fields, *self.way.optional)
        text = "\n".join(_text(field, about[field]) for field in fields if field in about)
        return msgspec.structs.replace(flip, baseline=before, candidate=after, text=text)


def _flip(question: Question, start: int, before: Scores, after: Scores) -> Flip | None:
    old, new = question.answers or (max(before, key=before.__getitem__), max(after, key=after.__getitem__))
    if old == new:
        return None
    first, second = _margins(before, after, old, new)
    return Flip(
        item=start + question.item,
        place=question.place,
        baseline=old,
        candidate=new,
        baseline_margin=first,
        candidate_margin=second,
    )


def _margins(before: Scores, after: Scores, old: str, new: str) -> tuple[float, float]:
    """How much the baseline prefers the old answer to the new one, and the candidate the new one to the old one."""
    return before.get(old, 0.0) - before.get(new, 0.0), after.get(new, 0.0) - after.get(old, 0.0)


def _text(field: str, value: object) -> str:
    if isinstance(value, list):
        return (" " if field == "words" else "\n").join(map(str, value))
    return str(value)
