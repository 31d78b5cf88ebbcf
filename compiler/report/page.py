"""A report as one HTML file that needs nothing from the network.

Every number on the page is a `<data value="...">` element: its value is the certificate's own, or the statistic of
the certificate's samples, unrounded; its text is what a person reads.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from compiler.records import Certificate, Finding, Measured, Runner
from compiler.records.comparison import Timing
from compiler.records.document import Entry, Report
from compiler.records.findings import is_headline, text_of
from compiler.report.changes import changes
from compiler.report.evaluated import named
from compiler.report.failures import found_beside
from compiler.report.front import front
from compiler.report.growth import growth
from compiler.report.strip import Strip, strip
from compiler.statistics import Ratio, Summary, ratio_of_medians, summarize

OPERATORS: Mapping[bool, str] = {True: "≤", False: "≥"}  # by whether lower is better


class Latency(NamedTuple):
    """One series of every runner that has it; `speedup` where the reference is one of them."""

    name: str
    unit: str
    better: str
    rows: list[tuple[str, Summary]]
    speedup: Ratio | None
    strip: Strip


class Bundle(NamedTuple):
    """What the page says of one bundle; `cost` are its `headlines`."""

    name: str
    size_bytes: int | None
    digest: str
    certificate: Certificate
    cost: list[Finding]
    latencies: list[Latency]
    runners: list[Runner]


def html(report: Report) -> str:
    """The page, as text; save it as UTF-8. It runs no script but its own, and loads nothing."""
    script = _read("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _page().render(
        report=report,
        bundles=[bundle(entry) for entry in report.entries],
        front=front(report),
        failures=found_beside(report),
        verdict="fail" if any(_fails(report)) else "pass",
        systems=partial(named, entries=report.entries),
        changes=changes(report.entries),
        text_of=text_of,
        operators=OPERATORS,
        style=Markup(_read("style.css")),
        script=Markup(script),
        script_digest=f"sha256-{digest}",
    )


def _fails(report: Report) -> Iterator[bool]:
    """Of each bundle and each comparison with a baseline, whether its verdict is that."""
    yield from (entry.certificate.verdict == "fail" for entry in report.entries)
    yield from (compared.verdict == "fail" for compared in report.comparisons)


def bundle(entry: Entry) -> Bundle:
    measured = entry.certificate.measured
    return Bundle(
        name=entry.name,
        size_bytes=entry.size_bytes,
        digest=entry.digest,
        certificate=entry.certificate,
        cost=headlines(entry.certificate.checked.findings),
        latencies=latencies(measured) if measured else [],
        runners=[runner for runner in (measured.engine, measured.reference) if runner] if measured else [],
    )


def latencies(measured: Measured) -> list[Latency]:
    """The engine's series, with the reference's of the same name beside them."""
    theirs = {series.name: series for series in measured.reference.series} if measured.reference else {}
    found = []
    for series in measured.engine.series:
        samples = {measured.engine.name: series.samples}
        speedup = None
        if measured.reference and (other := theirs.get(series.name)):
            samples[measured.reference.name] = other.samples
            slower, faster = (other, series) if series.better == "lower" else (series, other)
            speedup = ratio_of_medians(slower.samples, faster.samples)
        rows = [(name, summarize(values)) for name, values in samples.items()]
        found.append(Latency(series.name, series.unit, series.better, rows, speedup, strip(samples)))
    return found


def headlines(findings: tuple[Finding, ...]) -> list[Finding]:
    """What the speed cost, in the few findings that say it best; those outside their limit always."""
    return [finding for finding in findings if is_headline(finding.name) or not finding.passed]


def number(value: float) -> Markup:
    """Four significant digits."""
    return told(value, f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 10_000 else f"{value:.4g}")


def size(value: int) -> Markup:
    """Bytes, read as MB (10**6 bytes)."""
    return told(value, f"{value / 1e6:,.1f} MB")


def told(value: float, text: str) -> Markup:
    """A value that a person reads as this text."""
    return Markup('<data value="{}">{}</data>').format(repr(value), text)


def _both(timing: Timing) -> Strip:
    """The samples of all rounds of a comparison."""
    return strip(
        {
            "baseline": [sample for samples in timing.baseline for sample in samples],
            "candidate": [sample for samples in timing.candidate for sample in samples],
        }
    )


@cache
def _page() -> Template:
    environment = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "told": told, "size": size, "growth": growth, "strip": _both}
    return environment.get_template("page.html.jinja")


def _read(name: str) -> str:
    return files("compiler.report").joinpath(name).read_text(encoding="utf-8")
