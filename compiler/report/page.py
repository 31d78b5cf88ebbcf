"""A certificate as one HTML file that needs nothing from the network.

Every number on the page is a `<data value="...">` element: its value is the certificate's own, or the statistic of
the certificate's samples, unrounded; its text is what a person reads.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compiler.records import Certificate, Finding, Measured
from compiler.report.strip import Strip, strip
from compiler.report.words import FINDINGS, HEADLINES
from compiler.statistics import Ratio, Summary, ratio_of_medians, summarize

TEMPLATE = "page.html.jinja"


class Latency(NamedTuple):
    """One series of every runner that has it; `speedup` where the reference is one of them."""

    name: str
    unit: str
    rows: list[tuple[str, Summary]]
    speedup: Ratio | None
    strip: Strip


def html(certificate: Certificate) -> str:
    """The page, as text; save it as UTF-8."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    environment.filters["size"] = size
    template = environment.from_string(files("compiler.report").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    measured = certificate.measured
    return template.render(
        certificate=certificate,
        words=FINDINGS,
        cost=headlines(certificate.checked.findings),
        latencies=latencies(measured) if measured else [],
        runners=[runner for runner in (measured.engine, measured.reference) if runner] if measured else [],
        operators={True: "≤", False: "≥"},
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
            speedup = ratio_of_medians(other.samples, series.samples)
        rows = [(name, summarize(values)) for name, values in samples.items()]
        found.append(Latency(series.name, series.unit, rows, speedup, strip(samples)))
    return found


def headlines(findings: tuple[Finding, ...]) -> list[Finding]:
    """What the speed cost, in the few findings that say it best; those outside their limit always."""
    return [finding for finding in findings if finding.name in HEADLINES or not finding.passed]


def number(value: float) -> Markup:
    """Four significant digits."""
    text = f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 10_000 else f"{value:.4g}"
    return _data(value, text)


def size(value: int) -> Markup:
    """Bytes, read as MB (10**6 bytes)."""
    return _data(value, f"{value / 1e6:,.1f} MB")


def _data(value: float, text: str) -> Markup:
    return Markup('<data value="{}">{}</data>').format(repr(value), text)
