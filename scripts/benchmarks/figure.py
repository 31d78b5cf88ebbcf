"""A figure: what was measured, against its target, with every raw sample behind it; or why there is none."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.process import ProcessError


@dataclass(frozen=True)
class Figure:
    """`value`, a median in `unit`, against `target`; without a target it is shown and not judged.

    `low` and `high` are the quartiles of the runs behind it.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    better: Literal["lower", "higher"]
    target: float | None = None
    detail: str = ""
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> Literal["yes", "no", "unsure", ""]:
        """Whether the target is reached; unsure when it lies between the quartiles. Empty without a target."""
        if self.target is None:
            return ""
        if self.low < self.target < self.high:
            return "unsure"
        reached = self.value <= self.target if self.better == "lower" else self.value >= self.target
        return "yes" if reached else "no"


@dataclass(frozen=True)
class Failure:
    """A row without a figure: `runner` is the process that failed, `stderr` the end of what it printed there."""

    name: str
    runner: str
    why: str
    stderr: str


Row = Figure | Failure


def failures(names: Iterable[str], error: ProcessError) -> list[Failure]:
    """A row for each name."""
    return [Failure(name, error.name, error.why, error.stderr) for name in names]


def attempt(names: Sequence[str], make: Callable[[], Iterable[Figure]]) -> list[Row]:
    """What `make` gives; where a process behind it fails, a failure for each name."""
    try:
        return list(make())
    except ProcessError as error:
        return [*failures(names, error)]


def measured(
    name: str,
    samples: Sequence[float],
    unit: str,
    *,
    target: float | None = None,
    better: Literal["lower", "higher"] = "lower",
    detail: str = "",
    raw: dict[str, Any] | None = None,
) -> Figure:
    """The median of samples with their quartiles; of one sample, itself."""
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive") if samples[1:] else [samples[0]] * 3
    return Figure(
        name,
        middle,
        unit,
        low,
        high,
        better,
        target,
        detail,
        {"samples": list(samples), **(raw or {})},
    )


def times_faster(
    name: str,
    ours: Sequence[Sequence[float]],
    theirs: Sequence[Sequence[float]],
    unit: str,
    *,
    target: float | None = None,
) -> Figure:
    """How many times faster ours is: the median over rounds of the ratio of the round's medians.

    Args:
        ours, theirs: the samples of every round, in `unit`; a round measured both, one process after the other.
        unit: one of time ("ms", "s": less is faster), or "tokens/s" (more is faster).
    """
    pairs = [(statistics.median(a), statistics.median(b)) for a, b in zip(ours, theirs, strict=True)]
    ratios = [a / b if unit.endswith("/s") else b / a for a, b in pairs]
    own, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    detail = f"{own:.4g} against {peer:.4g} {unit}"
    raw = {"unit": unit, "ours": [list(a) for a in ours], "theirs": [list(b) for b in theirs]}
    return measured(name, ratios, "x", target=target, better="higher", detail=detail, raw=raw)


def times_as_long(
    name: str, ours: Sequence[float], baseline: Sequence[float], *, target: float | None = None
) -> Figure:
    """How many times as long ours takes as a baseline: the median of the ratios of pairs measured in turn.

    Args:
        ours, baseline: seconds, of which those at the same place were measured one after the other.
    """
    detail = f"{statistics.median(ours):.3g} against {statistics.median(baseline):.3g} s"
    ratios = [a / b for a, b in zip(ours, baseline, strict=True)]
    return measured(name, ratios, "x", target=target, detail=detail, raw={"ours": [*ours], "baseline": [*baseline]})
