"""`compile build`: the whole way from a checkpoint to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli import options
from compiler.cli.failure import describe
from compiler.cli.progress import working
from compiler.errors import BudgetError

if TYPE_CHECKING:
    from compiler.traffic import Buckets


@click.command(short_help="A checkpoint to a bundle with a certificate.")
@options.model
@options.profile
@options.task
@options.precision
@options.revision
@options.adapter
@options.adapter_base
@click.option("--context", type=int, metavar="N", help="Check and promise texts of up to N tokens.")
@options.budget
@options.target
@options.traffic
@options.out
@options.strict
@options.allow_pickle
@click.option("--no-bench", is_flag=True, help="Leave out the measurement.")
@options.output
def build(
    *,
    model: str,
    profile: str,
    task: str | None,
    precision: str | None,
    revision: str | None,
    adapters: tuple[str, ...],
    adapter_base: str | None,
    context: int | None,
    budget: dict[str, float],
    targets: tuple[str, ...],
    traffic: Path | None,
    out: Path | None,
    strict: bool,
    allow_pickle: bool,
    no_bench: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Compile MODEL (a hub id, a folder or a .gguf file) to a bundle, and certify it against PyTorch.

    A bundle outside its budget is written too, with verdict "fail"; the exit code is then 8.

    \b
    Examples:
      compile build sentence-transformers/all-MiniLM-L6-v2
      compile build model.gguf --profile cpu-x86-avx2 --precision int8-weights
      compile build ./folder --budget max_perplexity_ratio=1.02 --json
      compile build ./llm --context 32768
      compile build ./llm --adapter ./prompt-tuned
      compile build ./llm --adapter support=./lora-1 --adapter sales=./lora-2
      compile build ./llm --profile nvidia-l4 --target sm89 --target sm120
      compile build ./encoder --profile nvidia-h100 --traffic lengths.jsonl
    """
    from compiler import pipeline

    failed: BudgetError | None = None
    with working(verbose) as progress:
        try:
            bundle = pipeline.build(
                model,
                profile=profile,
                task=task,
                out=out,
                revision=revision,
                adapters=adapters,
                adapter_base=adapter_base,
                precision=precision,
                context=context,
                budget=budget,
                targets=targets,
                traffic=traffic,
                strict=strict,
                allow_pickle=allow_pickle,
                bench=not no_bench,
                progress=progress,
            )
        except BudgetError as error:
            if error.bundle is None:
                raise
            bundle, failed = error.bundle, error
    _show(bundle, failed, as_json, _buckets(bundle, profile, traffic) if traffic else None)


def _show(bundle: Path, failed: BudgetError | None, as_json: bool, buckets: Buckets | None) -> None:
    """The result, also of a build outside its budget; that one still ends with its error."""
    from compiler.cli import summary
    from compiler.cli.output import emit

    if as_json:
        result = summary.summary(bundle) | ({"traffic": buckets} if buckets else {})
        emit({**result, "error": describe(failed)._asdict()} if failed else result)
    else:
        summary.show(bundle)
        if buckets:
            click.echo(f"traffic: {buckets.text}")
    if failed and as_json:
        raise click.exceptions.Exit(failed.exit_code)
    if failed:
        raise failed


def _buckets(bundle: Path, profile: str, traffic: Path) -> Buckets:
    """What the build made of the recorded requests."""
    from compiler import profile as profiles
    from compiler.bundle import read
    from compiler.traffic import fit_model
    from compiler.traffic import read as recorded

    manifest = read(bundle)
    recipe = profiles.load(profile).recipe(manifest.kind)
    return fit_model(recorded(traffic), recipe.shapes, manifest, manifest.cache)
