"""Accuracy against latency: which bundles no other one beats on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from compiler.records.document import Entry, Report
from compiler.records.findings import is_headline
from compiler.report.evaluated import is_of
from compiler.statistics import Summary, summarize

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 80, 24, 16, 44  # pixels of the drawing
MARGIN = 0.08  # of the span, left free on all sides


class Quality(NamedTuple):
    name: str
    unit: str
    better: Literal["lower", "higher"]
    value: float
    samples: int
    low: float | None = None
    high: float | None = None


class Point(NamedTuple):
    """One bundle: `x`, `y` in pixels, `best` where no other bundle is at least as good on both sides."""

    number: int
    name: str
    latency: Summary
    quality: Quality
    best: bool
    x: float
    y: float


class Front(NamedTuple):
    series: str
    unit: str
    points: list[Point]
    line: str
    xs: list[tuple[float, float]]
    ys: list[tuple[float, float]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM


def front(report: Report) -> Front | None:
    """None with fewer than two bundles that have a measurement and a quality in common."""
    measured = [(entry, entry.certificate.measured) for entry in report.entries if entry.certificate.measured]
    timed = [{series.name: series for series in each.engine.series} for _, each in measured if each]
    shared = [name for name in (timed[0] if timed else {}) if all(name in each for each in timed)]
    name = next((name for name in shared if timed[0][name].better == "lower"), None)
    qualities = _qualities(report, [entry for entry, _ in measured])
    if len(measured) < 2 or name is None or qualities is None:
        return None
    latencies = [summarize(each[name].samples) for each in timed]
    costs = [
        (latency.median, -quality.value if quality.better == "higher" else quality.value)
        for latency, quality in zip(latencies, qualities, strict=True)
    ]
    place_x, xs = _axis([latency.median for latency in latencies], LEFT, WIDTH - RIGHT)
    place_y, ys = _axis([quality.value for quality in qualities], HEIGHT - BOTTOM, TOP)
    points = [
        Point(
            number=i + 1,
            name=entry.name,
            latency=latency,
            quality=quality,
            best=not any(_beats(other, costs[i]) for other in costs),
            x=place_x(latency.median),
            y=place_y(quality.value),
        )
        for i, ((entry, _), latency, quality) in enumerate(zip(measured, latencies, qualities, strict=True))
    ]
    line = " ".join(f"{point.x},{point.y}" for point in sorted(points, key=lambda point: point.x) if point.best)
    return Front(name, timed[0][name].unit, points, line, xs, ys)


def _qualities(report: Report, entries: Sequence[Entry]) -> list[Quality] | None:
    """One quality of every bundle, the same for all: a metric on the same data, else a finding that says most."""
    for digest in dict.fromkeys(evaluated.data_digest for evaluated in report.evaluations):
        alike = [evaluated for evaluated in report.evaluations if evaluated.data_digest == digest]
        systems = [system for evaluated in alike for system in evaluated.systems]
        metrics = [
            {m.name: m for system in systems if is_of(system, entry) for m in system.metrics if not m.is_cost}
            for entry in entries
        ]
        for name in metrics[0] if metrics else ():
            found = [each.get(name) for each in metrics]
            if all(found):
                return [Quality(m.name, m.unit, m.better, m.value, m.samples, m.low, m.high) for m in found if m]
    findings = [{finding.name: finding for finding in entry.certificate.checked.findings} for entry in entries]
    for name in findings[0] if findings else ():
        if is_headline(name) and all(name in each for each in findings):
            chosen = [each[name] for each in findings]
            return [Quality(f.name, f.unit, f.better, f.value, f.samples) for f in chosen]
    return None


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """At least as good on both sides, and better on one."""
    return one[0] <= other[0] and one[1] <= other[1] and one != other


def _axis(
    values: Sequence[float], start: float, end: float
) -> tuple[Callable[[float], float], list[tuple[float, float]]]:
    """Where a value lies between two pixels, and (pixel, value) of five ticks."""
    low, high = min(values), max(values)
    spare = MARGIN * (high - low) or MARGIN * abs(high) or 1.0
    low, high = low - spare, high + spare

    def place(value: float) -> float:
        return round(start + (value - low) / (high - low) * (end - start), 1)

    return place, [(place(value), value) for value in (low + (high - low) * i / 4 for i in range(5))]
