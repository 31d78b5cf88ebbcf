"""Everything that metrics look at of one system: answers, likelihoods, and how long they took. Each is made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from compiler.engines import Session
from compiler.evaluate.columns import Item
from compiler.evaluate.likelihood import log_losses
from compiler.evaluate.predict import Predicted, predict
from compiler.evaluate.settings import Settings
from compiler.evaluate.systems import Contestant
from compiler.runtime.model import Model
from compiler.runtime.text import Text

CHUNKS = 10  # timed parts that the items are answered in
CHUNK_LEAST = 8  # items of a part, so that batching by length pays
SINGLE = 32  # items that are timed one by one


class Timed(NamedTuple):
    """A part of the work: how much of what was done, in how many seconds."""

    amount: int
    tokens: int
    seconds: float


T = TypeVar("T")

Progress = Callable[[str, int, int], None]


def silent(message: str, done: int, total: int) -> None:
    """Say nothing."""


@dataclass(eq=False)
class Evidence:
    """Of one open system on these items."""

    system: Contestant
    model: Model
    session: Session
    text: Text
    items: Sequence[Item]
    settings: Settings
    progress: Progress = silent

    def on(self, items: Sequence[Item], session: Session | None = None) -> Evidence:
        """The same system on other items, or behind another session."""
        model = self.model if session is None else Model(self.system.folder, self.model.manifest, session)
        return replace(self, model=model, session=session or self.session, items=items)

    @property
    def predictions(self) -> list[Predicted]:
        """One for each item."""
        return self._answered[0]

    @property
    def answered(self) -> bool:
        """Whether any metric asked for the answers."""
        return "_answered" in vars(self)

    @property
    def answering(self) -> list[Timed]:
        """How long answering took, part by part; tokens are those generated, or else read."""
        return self._answered[1]

    @property
    def losses(self) -> list[np.ndarray]:
        """(tokens - 1,) nats for each item's text; see `likelihood.log_losses`."""
        return self._read[0]

    @property
    def reading_times(self) -> list[Timed]:
        """How long that took, part by part."""
        return self._read[1]

    @cached_property
    def single_seconds(self) -> list[float]:
        """Seconds for an answer to one item alone, for the first items."""
        chosen = self.items[:SINGLE]
        predict(self.model, chosen[:1], self.settings)
        seconds = []
        for done, item in enumerate(chosen):
            self.progress("one by one", done, len(chosen))
            start = time.perf_counter()
            predict(self.model, [item], self.settings)
            seconds.append(time.perf_counter() - start)
        return seconds

    @cached_property
    def _answered(self) -> tuple[list[Predicted], list[Timed]]:
        found: list[Predicted] = []
        times: list[Timed] = []
        predict(self.model, self.items[:1], self.settings)  # the first call of a session is slower
        for part in _parts(self.items):
            self.progress("answers", len(found), len(self.items))
            start = time.perf_counter()
            answers = predict(self.model, part, self.settings)
            seconds = time.perf_counter() - start
            times.append(Timed(len(part), sum(each.tokens for each in answers) or self._tokens(part), seconds))
            found += answers
        return found, times

    @cached_property
    def _read(self) -> tuple[list[np.ndarray], list[Timed]]:
        tokens = [each.ids for each in self.text.encode([item["text"] for item in self.items])]
        manifest = self.system.manifest
        log_losses(self.session, manifest, tokens[:1], *self.settings.reading)  # the first call is slower
        found: list[np.ndarray] = []
        times: list[Timed] = []
        for part in _parts(tokens):
            self.progress("perplexity", len(found), len(tokens))
            start = time.perf_counter()
            losses = log_losses(self.session, manifest, part, *self.settings.reading)
            times.append(Timed(len(part), sum(map(len, losses)), time.perf_counter() - start))
            found += losses
        return found, times

    def _tokens(self, items: Sequence[Item]) -> int:
        """Tokens of all texts of these items."""
        texts = [value if isinstance(value, str) else " ".join(value) for item in items for value in _read_of(item)]
        return sum(len(encoding.ids) for encoding in self.text.encode(texts))


def _read_of(item: Item) -> list[str | list[str]]:
    return [item[role] for role in ("text", "pair", "words", "question", "context", "choices") if role in item]


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    size = max(CHUNK_LEAST, -(-len(items) // CHUNKS))
    return [items[start : start + size] for start in range(0, len(items), size)]
