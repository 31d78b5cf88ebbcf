"""Which answers flipped from the baseline to the candidate, and the tokens that decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from compiler.compare.answers import ANSWERS, Answering, Item, Scores
from compiler.compare.occlusion import without_each_token
from compiler.errors import UsageError
from compiler.records.comparison import Flip, Flips, Token
from compiler.runtime import Model
from compiler.runtime.text import Text

EXPLAINED = 20  # flips, those with the largest swing; hiding every token costs a call each
TOKENS = 5  # named of each

Progress = Callable[[str, int, int], None]


def answering(task: str) -> Answering:
    """How items of a task are answered. Raises UsageError for a task whose answers cannot flip."""
    if task not in ANSWERS:
        raise UsageError(
            f"flipped answers of {task} cannot be told", expected=", ".join(ANSWERS), action="leave out --data"
        )
    return ANSWERS[task]


def flips(
    baseline: Model,
    candidate: Model,
    items: Sequence[Item],
    *,
    data: str,
    include_texts: bool = False,
    progress: Progress = lambda message, done, total: None,
) -> Flips:
    """Both models on the same items.

    Args:
        baseline: the model whose answers were given so far.
        candidate: the one that is to replace it, for the same task.
        items: with the fields that the task needs; see `answers.ANSWERS`.
        data: what the items are called.
        include_texts: put texts and tokens into the record, which else holds numbers and labels only.
        progress: called with a message, the steps done and their number.

    Raises:
        UsageError: the answers of this task, or of a model with a single one, cannot flip.
        InputError: an item does not fit the task.
    """
    both = Both(baseline, candidate, answering(baseline.manifest.task))
    progress("answers of both", 0, EXPLAINED)
    scored = both.scores(items)
    if all(len(scores) < 2 for pair in scored for scores in pair):
        raise UsageError("a model with a single answer cannot flip", action="leave out --data")
    found = [flip for index, scores in enumerate(scored) if (flip := _flip(index, *scores))]
    found.sort(key=lambda flip: -flip.swing)
    text = Text(baseline.folder, baseline.manifest)
    for place, flip in enumerate(found[:EXPLAINED]):
        progress("tokens that decided", place, min(EXPLAINED, len(found)))
        hidden = without_each_token(items[flip.item], both.way.occluded, text)
        rest = both.swings([each.item for each in hidden], flip)
        tokens = [
            Token(index=each.place, influence=flip.swing - swing, text=each.text if include_texts else None)
            for each, swing in zip(hidden, rest, strict=True)
        ]
        tokens.sort(key=lambda token: -abs(token.influence))
        found[place] = msgspec.structs.replace(flip, tokens=tuple(tokens[:TOKENS]))
    if include_texts:
        found = [msgspec.structs.replace(flip, text=_shown(items[flip.item], both.way)) for flip in found]
    return Flips(data=data, items=len(items), flips=tuple(found))


class Both(NamedTuple):
    """Two models on the same items, by their task's way to answer."""

    baseline: Model
    candidate: Model
    way: Answering

    def scores(self, items: Sequence[Item]) -> list[tuple[Scores, Scores]]:
        return list(zip(*(self.way.scores(model, items) for model in (self.baseline, self.candidate)), strict=True))

    def swings(self, items: Sequence[Item], flip: Flip) -> list[float]:
        """How far the two are apart about a flip's two answers."""
        pairs = self.scores(items) if items else []
        return [sum(_margins(*scores, flip.baseline, flip.candidate)) for scores in pairs]


def _flip(index: int, before: Scores, after: Scores) -> Flip | None:
    old, new = max(before, key=before.__getitem__), max(after, key=after.__getitem__)
    if old == new:
        return None
    first, second = _margins(before, after, old, new)
    return Flip(item=index, baseline=old, candidate=new, baseline_margin=first, candidate_margin=second)


def _margins(before: Scores, after: Scores, old: str, new: str) -> tuple[float, float]:
    """How much the baseline prefers the old answer to the new one, and the candidate the new one to the old one."""
    return before.get(old, 0.0) - before.get(new, 0.0), after.get(new, 0.0) - after.get(old, 0.0)


def _shown(item: Item, way: Answering) -> str:
    return "\n".join(str(item[field]) for field in (*way.fields, *way.optional) if field in item)
