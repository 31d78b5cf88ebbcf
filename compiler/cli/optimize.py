"""`compile optimize`: a portable model lowered for one profile."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.cli import options
from compiler.cli.progress import working


@click.command(short_help="A portable model lowered for a profile.")
@click.argument("exported", type=options.FOLDER)
@options.profile
@options.precision
@options.out
@options.strict
@options.output
def optimize(
    *,
    exported: Path,
    profile: str,
    precision: str | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run a profile's passes over EXPORTED, a folder that `compile export` wrote.

    \b
    Example:
      compile optimize exported --profile cpu-x86-avx2 --precision int8-dynamic --out optimized
    """
    from compiler import pipeline, records
    from compiler.cli.output import emit, table
    from compiler.stages.optimize import RECORD

    with working(verbose) as progress:
        folder = pipeline.optimize(
            exported, profile=profile, precision=precision, out=out, strict=strict, progress=progress
        )
    optimized = records.load(folder / RECORD, records.Optimized)
    if as_json:
        emit({"folder": folder, "optimized": optimized})
        return
    rows = [
        (
            run.name,
            run.nodes_before,
            run.nodes_after,
            f"{run.seconds:.2f}",
            "-" if run.error is None else f"{run.error:.1e}",
            f"left out: {run.reason}" if not run.kept else "" if run.modified else "nothing to do",
        )
        for run in optimized.passes
    ]
    table(("pass", "nodes", "after", "seconds", "error", ""), rows)
    click.echo(f"{optimized.precision} for {optimized.profile}: {folder}")
