"""The growth of the error through a model's layers, as a table with a bar for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from compiler.cli.output import table
from compiler.records.divergence import Diverged, Layer

BAR = 24  # characters of the longest


def show_diverged(diverged: Diverged) -> None:
    _table("Layers, as they run", diverged.layers)
    if diverged.within:
        _table(f"Inside {diverged.first}", diverged.within)
    if diverged.skipped:
        click.echo(f"without a tensor of its own in the engine: {', '.join(diverged.skipped)}")
    click.echo(f"difference from PyTorch: {diverged.measure}")
    click.echo(f"limit of a layer: {diverged.basis}")
    if diverged.first is None:
        click.echo("first layer outside its limit: none")
    else:
        inside = f", in {diverged.culprit}" if diverged.culprit else ""
        click.echo(f"first layer outside its limit: {diverged.first}{inside}")


def bars(layers: Sequence[Layer], width: int) -> list[str]:
    """Relative errors on a logarithmic scale of a decade or more; the largest, and what is not finite, fills it."""
    logs = [math.log10(layer.relative) if layer.relative else None for layer in layers]
    finite = [log for log in logs if log is not None]
    high = max(finite, default=0.0)
    low = min([high - 1, *finite])  # so that nearly equal ones look so
    step = (width - 1) / (high - low)
    return [
        "!" * width if layer.error is None else "" if log is None else "#" * (1 + round((log - low) * step))
        for layer, log in zip(layers, logs, strict=True)
    ]


def _table(title: str, layers: tuple[Layer, ...]) -> None:
    absolute = any(layer.scale != 1 for layer in layers)  # else the difference is a share already
    rows = [
        (
            layer.module,
            layer.shown,
            *(["-" if layer.relative is None else layer.relative] if absolute else []),
            layer.shown_limit or "-",
            layer.samples,
            "" if layer.limit is None else "within" if layer.passed else "OUTSIDE",
            layer.precision,
            bar,
        )
        for layer, bar in zip(layers, bars(layers, BAR), strict=True)
    ]
    scaled = ["of the largest value"] if absolute else []
    header = ("module", "difference", *scaled, "limit", "values", "", "precision", "growth (log)")
    table(header, rows, title)
