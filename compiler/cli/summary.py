"""What a bundle is and how its build ended, drawn from its manifest and certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compiler.cli.output import size, table
from compiler.records import Certificate, Checked, Finding, Manifest, Measured, Series
from compiler.statistics import Ratio, ratio_of_medians, summarize

SHOWN = 8  # names of what was not read; all of them are in the certificate


def read(bundle: Path) -> tuple[Manifest, Certificate]:
    """What a bundle says of itself; its other files are not looked at."""
    from compiler import bundle as bundles

    manifest = bundles.read(bundle)
    return manifest, bundles.certificate(bundle, manifest)


def speedups(measured: Measured | None) -> dict[str, Ratio]:
    """Per series that both runners have: how many times better the engine is than PyTorch."""
    if measured is None or measured.reference is None:
        return {}
    reference = {series.name: series for series in measured.reference.series}
    pairs = [(series, reference[series.name]) for series in measured.engine.series if series.name in reference]
    return {ours.name: _ratio(ours, theirs) for ours, theirs in pairs}


def plain(ratios: dict[str, Ratio]) -> dict[str, dict[str, float]]:
    """The same for JSON."""
    return {name: ratio._asdict() for name, ratio in ratios.items()}


def summary(bundle: Path) -> dict[str, Any]:
    """The `--json` result of a build."""
    from compiler.bundle import digest_of

    manifest, certificate = read(bundle)
    return {
        "bundle": bundle,
        "digest": digest_of(bundle),
        "verdict": certificate.verdict,
        "reasons": certificate.reasons,
        "task": certificate.task,
        "profile": certificate.profile,
        "precision": certificate.precision,
        "size_bytes": sum(entry.size for entry in manifest.files.values()),
        "speedup": plain(speedups(certificate.measured)),
        "unsteady": certificate.measured.unsteady if certificate.measured else (),
        "findings": certificate.checked.findings,
        "serving": certificate.checked.serving,
        "plans": [{"target": plan.target, "file": plan.file, "size_bytes": plan.size} for plan in manifest.plans],
        "adapters": certificate.checked.adapters,
        "unread": certificate.unread,
        "padding": certificate.padding,
    }


def show(bundle: Path) -> None:
    """The same for a person."""
    result = summary(bundle)
    manifest, certificate = read(bundle)
    passed = result["verdict"] == "pass"
    rows = [
        ("verdict", "pass" if passed else "FAIL"),
        ("reasons", ", ".join(result["reasons"]) or "none: every finding is within its limit"),
        ("task", result["task"]),
        ("profile", result["profile"]),
        ("precision", result["precision"]),
        *([("adapters", _adapters(manifest))] if manifest.adapters or manifest.source.adapter else []),
        *([("plans", ", ".join(plan.file for plan in manifest.plans))] if manifest.plans else []),
        *([("answered by", _serving(certificate.checked))] if manifest.plans else []),
        ("size", size(result["size_bytes"])),
        *((f"times PyTorch, {name}", _times(ratio)) for name, ratio in speedups(certificate.measured).items()),
        ("bundle", bundle),
        ("digest", result["digest"]),
    ]
    table(("", ""), rows)
    if manifest.kind == "encoder" and manifest.padding != "hidden":
        click.echo(f"padding {manifest.padding}: only texts of equal length are read together")
    if certificate.unread:
        names = ", ".join(certificate.unread[:SHOWN]) + (", ..." if len(certificate.unread) > SHOWN else "")
        click.echo(f"not read, {len(certificate.unread)} that no answer depends on: {names}")
    warn_of_noise(certificate.measured)
    for left_out in (run for run in certificate.passes if not run.kept):
        click.echo(f"left out: {left_out.name}: {left_out.reason}")


def _serving(checked: Checked) -> str:
    """What the findings are about."""
    if checked.serving is None:
        return "unknown"
    answers = f"{checked.serving.engine} {checked.serving.version}"
    return f"{answers}: {checked.serving.reason}" if checked.serving.reason else answers


def _adapters(manifest: Manifest) -> str:
    """The names to choose from, or where the one that is compiled in came from."""
    if manifest.source.adapter:
        return f"{manifest.source.adapter.name}, compiled in"
    return ", ".join(adapter.name for adapter in manifest.adapters)


def show_checked(checked: Checked) -> None:
    """What answered, the findings about the model, and about each adapter."""
    if checked.serving and checked.serving.reason:
        click.echo(f"answered by {_serving(checked)}")
    show_findings(checked.findings)
    for name, findings in checked.adapters.items():
        show_findings(findings, f'Parity with PyTorch float32, adapter "{name}"')


def show_findings(findings: tuple[Finding, ...], title: str = "Parity with PyTorch float32") -> None:
    rows = [
        (
            finding.name,
            finding.shown,
            "-" if finding.limit is None else f"{'<=' if finding.better == 'lower' else '>='} {finding.shown_limit}",
            finding.unit,
            finding.samples,
            _judged(finding),
            finding.basis,
        )
        for finding in findings
    ]
    table(("finding", "value", "limit", "unit", "samples", "", "basis"), rows, title)


def _judged(finding: Finding) -> str:
    if finding.limit is None:
        return ""
    return "within" if finding.passed else "UNDECIDED" if finding.undecided else "OUTSIDE"


def show_measured(measured: Measured) -> None:
    ratios = speedups(measured)
    reference = {} if measured.reference is None else {series.name: series for series in measured.reference.series}
    rows = [
        (
            series.name,
            series.unit,
            summarize(series.samples).median,
            summarize(reference[series.name].samples).median if series.name in reference else "-",
            _times(ratios[series.name]) if series.name in ratios else "-",
            len(series.samples),
        )
        for series in measured.engine.series
    ]
    table(("measurement", "unit", measured.engine.name, "PyTorch", "times", "samples"), rows, "Medians")
    warn_of_noise(measured)
    runners = [runner for runner in (measured.engine, measured.reference) if runner]
    costs = [
        (runner.name, runner.threads, runner.load_seconds, size(runner.peak_memory_bytes), size(runner.disk_bytes))
        for runner in runners
    ]
    table(("runner", "threads", "load s", "peak memory", "on disk"), costs)


def warn_of_noise(measured: Measured | None) -> None:
    """Name the series that are no figures to rely on."""
    if measured and measured.unsteady:
        named = ", ".join(each.text for each in measured.unsteady)
        click.echo(f"NOT STEADY, no figures to rely on: {named}; measure again while nothing else runs here")


def _ratio(ours: Series, theirs: Series) -> Ratio:
    above, below = (theirs, ours) if ours.better == "lower" else (ours, theirs)
    return ratio_of_medians(above.samples, below.samples)


def _times(ratio: Ratio) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
