"""How far a check has come, told to whoever waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from compiler.progress import Report, unreported

Item = TypeVar("Item")

_progress: ContextVar[Report] = ContextVar("progress", default=unreported)
_subject: ContextVar[str] = ContextVar("subject", default="")


@contextmanager
def telling(progress: Report) -> Iterator[None]:
    """Within the block `progress` is called with what is done next, the steps done and their number (0: one alone)."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Within the block all that is told begins with this."""
    token = _subject.set(f"{subject}: ")
    try:
        yield
    finally:
        _subject.reset(token)


def step(message: str, done: int = 0, total: int = 0) -> None:
    """Say what is done next."""
    _progress.get()(f"{_subject.get()}{message}", done, total)


def counted(items: Sequence[Item], message: str) -> Iterator[Item]:
    """The items, each told of when its turn comes."""
    for number, item in enumerate(items):
        step(message, number, len(items))
        yield item
