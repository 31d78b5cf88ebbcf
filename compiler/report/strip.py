"""Raw samples as a strip of dots: one row a runner on a common axis that starts at zero, with a bar at the median."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from compiler.statistics import summarize

WIDTH, LEFT, RIGHT, ROW, TOP = 640, 120, 20, 34, 6  # pixels of the drawing
JITTER = (0, 5, -5, 2.5, -2.5)  # dots of neighbours do not hide each other


class Row(NamedTuple):
    """`dots` is the d attribute of an SVG path; a dot is a line without length, with round ends."""

    name: str
    y: float
    dots: str
    median_x: float


class Strip(NamedTuple):
    rows: list[Row]
    ticks: list[tuple[float, float]]
    width: int
    height: int


def strip(samples: Mapping[str, Sequence[float]]) -> Strip:
    """Lay out samples by runner name. Coordinates are pixels, ticks are (x, value)."""
    largest = max(max(values) for values in samples.values())
    scale = (WIDTH - LEFT - RIGHT) / largest
    rows = []
    for i, (name, values) in enumerate(samples.items()):
        y = TOP + ROW * (i + 0.5)
        dots = "".join(
            f"M{LEFT + value * scale:.1f} {y + JITTER[j % len(JITTER)]:g}h0" for j, value in enumerate(values)
        )
        rows.append(Row(name, y, dots, round(LEFT + summarize(values).median * scale, 1)))
    ticks = [(round(LEFT + value * scale, 1), value) for value in _ticks(largest)]
    return Strip(rows, ticks, WIDTH, TOP + ROW * len(rows) + 22)


def _ticks(largest: float) -> list[float]:
    """About five round numbers from zero."""
    magnitude = 10.0 ** math.floor(math.log10(largest / 4))
    step = magnitude * next(nice for nice in (1, 2, 5, 10) if largest / 4 <= nice * magnitude)
    return [i * step for i in range(int(largest / step) + 1)]
