"""Faults of the code around a graph: an engine's `run` and `decode`, wrong in one way each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.engines import Decoding, EncoderDecoderSession, Feeds, Session
from compiler.engines.adapted import AdaptedSession
from compiler.engines.onnxruntime.decoding import ConcatenatedDecoding
from compiler.records import CacheShape

Wrap = Callable[[Session], Session]


class Passing:
    """A session that hands everything on. Subclasses spoil a part."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, feeds: Feeds) -> Feeds:
        return self.session.run(feeds)

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        return self.session.decode(cache, batch, capacity, *([constants] if constants else []))

    def encode(self, feeds: Feeds) -> Feeds:
        assert isinstance(self.session, EncoderDecoderSession)
        return self.session.encode(feeds)

    def with_matrices(self, matrices: Feeds) -> Session:
        assert isinstance(self.session, AdaptedSession)
        return type(self)(self.session.with_matrices(matrices))

    def close(self) -> None:
        self.session.close()


class Step:
    """A generation that hands everything on."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding, self.capacity, self.calls = decoding, decoding.capacity, 0

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        self.calls += 1
        return self.decoding.step(input_ids, lengths)

    def select(self, rows: np.ndarray) -> None:
        self.decoding.select(rows)

    def truncate(self, length: int) -> None:
        self.decoding.truncate(length)


def stepping(kind: type[Step]) -> Wrap:
    """A session whose generations are of this kind."""

    class Stepping(Passing):
        def decode(self, *arguments: Any) -> Decoding:  # type: ignore[override]
            return kind(super().decode(*arguments))

    return Stepping


class OffByOne(Step):
    """The 9th token's keys and values are written over those of the 8th, and all later ones one place too early."""

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if self.calls == 8 and isinstance(self.decoding, ConcatenatedDecoding):
            self.decoding._real = self.decoding._real[:, :-1]
            self.decoding._replace(lambda array: array[:, :, :-1])
        return super().step(input_ids, lengths - (1 if self.calls >= 8 else 0))


class Rows(Step):
    """Rows go on in the order they were in."""

    def select(self, rows: np.ndarray) -> None:
        super().select(np.sort(rows))


class Untruncated(Step):
    """The first token that was to be forgotten stays, in place of the first new one."""

    stays = False

    def truncate(self, length: int) -> None:
        super().truncate(length + 1)
        self.stays = True

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        skipped = 1 if self.stays and input_ids.shape[1] > 1 else 0
        return super().step(input_ids[:, skipped:], lengths)


class Twice(Step):
    """Of several tokens after the prompt, the last is read in place of all."""

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if self.calls and input_ids.shape[1] > 1:
            input_ids = np.broadcast_to(input_ids[:, -1:], input_ids.shape).copy()
        return super().step(input_ids, lengths)


class Equal(Step):
    """Padding of the shorter prompts is taken for tokens."""

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return super().step(input_ids, np.full_like(lengths, lengths.max()))


class Late(Step):
    """From the 20th step on the answer is the one of the step before."""

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        found = super().step(input_ids, lengths).copy()
        before, self.last = getattr(self, "last", found), found
        return before if self.calls >= 20 and before.shape == found.shape else found


class RowsMixed(Passing):
    """The answers of a batch come in the wrong order."""

    def run(self, feeds: Feeds) -> Feeds:
        return {name: np.roll(array, 1, axis=0) for name, array in super().run(feeds).items()}


class TextsMixed(Passing):
    """The encoder's readings of a batch come in the wrong order."""

    def encode(self, feeds: Feeds) -> Feeds:
        return {name: np.roll(array, 1, axis=0) for name, array in super().encode(feeds).items()}


class TextsCut(Passing):
    """The encoder reads no more than 64 tokens of a text."""

    def encode(self, feeds: Feeds) -> Feeds:
        cut = {**feeds, "attention_mask": feeds["attention_mask"].copy()}
        cut["attention_mask"][:, 64:] = 0
        return super().encode(cut)


class Unmasked(Passing):
    """Cross attention sees the padding of the shorter texts."""

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        mask = "encoder_attention_mask"
        given = {**(constants or {}), mask: np.ones_like((constants or {})[mask])}
        return super().decode(cache, batch, capacity, given)


class BaseOnly(Passing):
    """Adapters are left out while generating."""

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        assert isinstance(self.session, AdaptedSession)
        none = {name: np.zeros_like(array) for name, array in self.session._matrices.items()}
        return self.session.with_matrices(none).decode(cache, batch, capacity, constants)
