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
Report = Callable[[str, int, int], None]  # within a stage: a step, its number, how many there are (0: unknown)


def silent(_: Event) -> None:
    """Tell nobody."""


def unreported(_message: str, _done: int, _total: int) -> None:
    """Report to nobody."""


def report(progress: Progress, stage: str) -> Report:
    """A callback for the steps of a stage."""
    return lambda message, done, total: progress(Event(stage, message, done, total))


def warn(progress: Progress, stage: str) -> Callable[[str], None]:
    """A callback for a stage's warnings."""
    return lambda message: progress(Event(stage, message, warning=True))


def begin(progress: Progress, stage: str, message: str) -> Callable[[bool], None]:
    """A callback for the start of a stage: whether its result comes from the cache."""
    return lambda cached: progress(Event(stage, message, cached=cached))
