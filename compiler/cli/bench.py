"""`compile bench`: speed and memory of a bundle beside PyTorch."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.cli import options
from compiler.cli.progress import working


@click.command(short_help="A bundle's speed and memory beside PyTorch.")
@click.argument("bundle", type=options.FOLDER)
@options.reference
@options.reference_adapter
@options.output
def bench(bundle: Path, *, reference: str | None, adapters: tuple[str, ...], as_json: bool, verbose: bool) -> None:
    """Measure BUNDLE and its checkpoint in PyTorch, each in a process of its own.

    \b
    Example:
      compile bench artifacts/model --json
    """
    from compiler import pipeline
    from compiler.cli.output import emit
    from compiler.cli.summary import plain, show_measured, speedups

    with working(verbose) as progress:
        measured = pipeline.bench(bundle, reference=reference, adapters=adapters, progress=progress)
    if as_json:
        emit({"bundle": bundle, "speedup": plain(speedups(measured)), "measured": measured})
    else:
        show_measured(measured)
