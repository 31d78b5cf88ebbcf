"""Errors of layers as bars on a logarithmic axis: one row a layer, with a mark at its limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from compiler.records.divergence import Layer

WIDTH, LEFT, RIGHT, ROW, TOP = 640, 250, 20, 20, 4  # pixels of the drawing
NAME = 32  # characters of a module's path that fit; its end says most


class Bar(NamedTuple):
    """`width` in pixels from `LEFT`; `limit_x` where the layer's limit lies (None: it is not judged)."""

    name: str
    y: float
    width: float
    limit_x: float | None
    outside: bool


class Growth(NamedTuple):
    bars: list[Bar]
    ticks: list[tuple[float, float]]
    width: int
    height: int
    left: int


def growth(layers: Sequence[Layer]) -> Growth:
    """Lay out errors over their layer's scale. An error of zero has no bar, one that is not finite the longest."""
    limits = [layer.limit and layer.limit / (layer.scale or 1.0) for layer in layers]
    logs = [math.log10(value) for value in (*limits, *(layer.relative for layer in layers)) if value]
    low, high = math.floor(min(logs, default=-1) - 0.1), math.ceil(max(logs, default=0))  # the least is seen too
    high = max(high, low + 1)
    scale = (WIDTH - LEFT - RIGHT) / (high - low)

    def place(value: float) -> float:
        return round((math.log10(value) - low) * scale, 1) if value else 0.0

    bars = []
    for i, (layer, limit) in enumerate(zip(layers, limits, strict=True)):
        width = float(WIDTH - LEFT - RIGHT) if layer.relative is None else place(layer.relative)
        limit_x = round(LEFT + place(limit), 1) if limit else None
        bars.append(Bar(_short(layer.module), TOP + ROW * i, width, limit_x, not layer.passed))
    step = math.ceil((high - low) / 6)
    ticks = [(round(LEFT + (power - low) * scale, 1), 10.0**power) for power in range(low, high + 1, step)]
    return Growth(bars, ticks, WIDTH, TOP + ROW * len(bars) + 20, LEFT)


def _short(path: str) -> str:
    return path if len(path) <= NAME else f"…{path[1 - NAME :]}"
