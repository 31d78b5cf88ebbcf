"""Everything that metrics look at of one system: answers, likelihoods, and how long they took. Each is made once.

What is timed is done in turns by all systems of an evaluation, part by part, so that whatever slows the machine down
for a while slows all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from compiler.engines import Session
from compiler.evaluate.columns import Item
from compiler.evaluate.likelihood import log_losses
from compiler.evaluate.predict import Predicted, predict
from compiler.evaluate.settings import Settings
from compiler.evaluate.systems import Contestant
from compiler.progress import Report, unreported
from compiler.runtime.model import Model
from compiler.runtime.text import Text

PARTS = 10  # that the items are answered in
PART_LEAST = 8  # items of a part, so that batching by length pays
SINGLE = 32  # items that are timed one by one


class Timed(NamedTuple):
    """A part of the work: how much of what was done, in how many seconds."""

    amount: int
    tokens: int
    seconds: float


class Done(NamedTuple):
    """What was found for a part of the items, and how long that took."""

    found: list[Any]
    timed: Timed


@dataclass(eq=False)
class Evidence:
    """Of one open system on these items. `beside` are all systems that take turns, itself among them."""

    system: Contestant
    model: Model
    session: Session
    text: Text
    items: Sequence[Item]
    settings: Settings
    progress: Report = unreported
    beside: Sequence[Evidence] = ()
    _done: dict[Work, list[Done]] = field(default_factory=dict)

    def on(self, items: Sequence[Item], session: Session | None = None) -> Evidence:
        """The same system on other items, or behind another session; it takes turns with none."""
        model = self.model if session is None else Model(self.system.folder, self.model.manifest, session)
        return replace(self, model=model, session=session or self.session, items=items, beside=(), _done={})

    @property
    def predictions(self) -> list[Predicted]:
        """One for each item."""
        return [each for done in self._all(_answer) for each in done.found]

    @property
    def answered(self) -> bool:
        """Whether any metric asked for the answers."""
        return _answer in self._done

    @property
    def answering(self) -> list[Timed]:
        """How long answering took, part by part; tokens are those generated, or else read."""
        return [done.timed for done in self._all(_answer)]

    @property
    def losses(self) -> list[np.ndarray]:
        """(tokens - 1,) nats for each item's text; see `likelihood.log_losses`."""
        return [each for done in self._all(_read) for each in done.found]

    @property
    def reading_times(self) -> list[Timed]:
        """How long that took, part by part."""
        return [done.timed for done in self._all(_read)]

    @property
    def single_seconds(self) -> list[float]:
        """Seconds for an answer to one item alone, for the first items."""
        return [each for done in self._all(_answer_singly, SINGLE) for each in done.found]

    @cached_property
    def tokens(self) -> list[list[int]]:
        """Of each item's text."""
        return [each.ids for each in self.text.encode([item["text"] for item in self.items])]

    def _all(self, work: Work, most: int | None = None) -> list[Done]:
        """All parts of the work, once it was done by everyone."""
        if work not in self._done:
            sides = self.beside or (self,)
            for side in sides:
                side._done[work] = []
            for number, part in enumerate(parts(len(self.items[:most]))):
                for side in sides if number % 2 == 0 else reversed(sides):
                    side._done[work].append(work(side, part))
        return self._done[work]


Work = Callable[[Evidence, slice], Done]


def parts(count: int) -> list[slice]:
    """Of so many items; a few of them at least in each."""
    size = max(PART_LEAST, -(-count // PARTS))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _answer(side: Evidence, part: slice) -> Done:
    if part.start == 0:
        predict(side.model, side.items[:1], side.settings)  # the first call of a session is slower
    items = side.items[part]
    side.progress("answers", part.start, len(side.items))
    start = time.perf_counter()
    answers = predict(side.model, items, side.settings)
    seconds = time.perf_counter() - start
    tokens = sum(each.tokens for each in answers) or _tokens(side.text, items)
    return Done(answers, Timed(len(items), tokens, seconds))


def _read(side: Evidence, part: slice) -> Done:
    tokens, manifest = side.tokens, side.system.manifest
    if part.start == 0:
        first = [tokens[0][: side.settings.reading.window]]
        log_losses(side.session, manifest, first, *side.settings.reading)
    side.progress("perplexity", part.start, len(tokens))
    start = time.perf_counter()
    losses = log_losses(side.session, manifest, tokens[part], *side.settings.reading)
    return Done(losses, Timed(len(losses), sum(map(len, losses)), time.perf_counter() - start))


def _answer_singly(side: Evidence, part: slice) -> Done:
    items = side.items[part]
    predict(side.model, items[:1], side.settings)  # whoever had the turn before left the caches to its own
    seconds = []
    for done, item in enumerate(items, part.start):
        side.progress("one by one", done, min(SINGLE, len(side.items)))
        start = time.perf_counter()
        predict(side.model, [item], side.settings)
        seconds.append(time.perf_counter() - start)
    return Done(seconds, Timed(len(items), 0, sum(seconds)))


def _tokens(text: Text, items: Sequence[Item]) -> int:
    """Tokens of all texts of these items."""
    roles = ("text", "pair", "words", "question", "context", "choices")
    values = [item[role] for item in items for role in roles if role in item]
    texts = [value if isinstance(value, str) else " ".join(value) for value in values]
    return sum(len(encoding.ids) for encoding in text.encode(texts))
