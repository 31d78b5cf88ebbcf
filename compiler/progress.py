"""What a stage tells a person while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Event(NamedTuple):
    """Progress of one stage: its first says what it is, others its steps, `done` of `total` (0: unknown).

    A `warning` is kept in sight.
    """

    stage: str
    message: str
    done: int = 0
    total: int = 0
    cached: bool = False
    warning: bool = False


Progress = Callable[[Event], None]


def silent(_: Event) -> None:
    """Tell nobody."""


def report(progress: Progress, stage: str) -> Callable[[str, int, int], None]:
    """A callback for (message, done, total) of a stage."""
    return lambda message, done, total: progress(Event(stage, message, done, total))


def warn(progress: Progress, stage: str) -> Callable[[str], None]:
    """A callback for a stage's warnings."""
    return lambda message: progress(Event(stage, message, warning=True))


def begin(progress: Progress, stage: str, message: str) -> Callable[[bool], None]:
    """A callback for the start of a stage: whether its result comes from the cache."""
    return lambda cached: progress(Event(stage, message, cached=cached))
