"""`compile build`: the whole way from a checkpoint to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli import options
from compiler.cli.progress import working
from compiler.errors import BudgetError
from compiler.request import BuildRequest

if TYPE_CHECKING:
    from compiler.traffic import Buckets


@click.command(short_help="A checkpoint to a bundle with a certificate.")
@options.request(*BuildRequest.__struct_fields__)
@options.out
@options.output
def build(*, out: Path | None, as_json: bool, verbose: bool, **choices: Any) -> None:
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

    wanted = BuildRequest(**choices)
    failed: BudgetError | None = None
    with working(verbose) as progress:
        try:
            bundle = pipeline.build(wanted, out=out, progress=progress)
        except BudgetError as error:
            if error.bundle is None:
                raise
            bundle, failed = error.bundle, error
    _show(bundle, failed, as_json, _buckets(bundle, wanted.profile, wanted.traffic) if wanted.traffic else None)


def _show(bundle: Path, failed: BudgetError | None, as_json: bool, buckets: Buckets | None) -> None:
    """The result, also of a build outside its budget; that one still ends with its error."""
    from compiler.cli import summary
    from compiler.cli.output import finish

    def show() -> None:
        summary.show(bundle)
        if buckets:
            click.echo(f"traffic: {buckets.text}")

    result = summary.summary(bundle) | ({"traffic": buckets} if buckets else {})
    finish(result, show, failed, as_json=as_json)


def _buckets(bundle: Path, profile: str, traffic: str) -> Buckets:
    """What the build made of the recorded requests."""
    from compiler import profile as profiles
    from compiler.bundle import read
    from compiler.traffic import fit_model
    from compiler.traffic import read as recorded

    manifest = read(bundle)
    recipe = profiles.load(profile).recipe(manifest.kind)
    return fit_model(recorded(Path(traffic)), recipe.shapes, manifest, manifest.cache)
