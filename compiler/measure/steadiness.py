"""Are the samples of a series those of one speed, or did something else use the machine?

On an idle machine the quartiles of 10 series (MiniLM and SmolLM2, engine and PyTorch) lay at most 9 % of the median
apart, and the median of the second half at most 7 % from that of the first. While eight other programs worked, 11 of 14
series were beyond the limits here, most of them by far.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from compiler import records
from compiler.errors import CompilerError
from compiler.records import Measured, Runner, Unsteady
from compiler.statistics import drift, summarize
from compiler.storage import discard

LEAST = 4  # samples that tell of spread
SPREAD = DRIFT = 0.2  # of the median


def unsteady(runners: Iterable[Runner]) -> tuple[Unsteady, ...]:
    """The series whose median is no figure to rely on."""
    found = []
    for runner in runners:
        for series in runner.series:
            if len(series.samples) < LEAST:
                continue
            summary = summarize(series.samples)
            spread, change = summary.iqr / summary.median, drift(series.samples)
            if spread > SPREAD or abs(change) > DRIFT:
                found.append(Unsteady(runner=runner.name, series=series.name, spread=spread, drift=change))
    return tuple(found)


def forget_unsteady(folder: Path, record: str) -> None:
    """Remove a measurement that was kept in `folder` if it was not steady, so that it is made again."""
    with suppress(CompilerError):  # nothing is kept
        if records.load(folder / record, Measured).unsteady:
            discard(folder)
