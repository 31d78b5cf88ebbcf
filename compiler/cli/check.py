"""`compile check`: parity of a bundle with PyTorch."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.cli import options
from compiler.cli.progress import working

BISECT = "--bisect names the first layer outside its limit"


@click.command(short_help="A bundle's answers against PyTorch float32.")
@click.argument("bundle", type=options.FOLDER)
@options.reference
@options.reference_adapter
@options.budget
@click.option("--bisect", is_flag=True, help="Also find the first layer whose output leaves its tolerance.")
@click.option("--seal", is_flag=True, help="Give BUNDLE a certificate of this machine and this engine's version.")
@options.output
def check(
    bundle: Path,
    *,
    reference: str | None,
    adapters: tuple[str, ...],
    budget: dict[str, float],
    bisect: bool,
    seal: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Compare BUNDLE with its checkpoint in PyTorch float32. Exit code 8 when it is outside the budget.

    \b
    Examples:
      compile check artifacts/model
      compile check artifacts/model --bisect
      compile check artifacts/model --seal     # certified anew, with what answers here
      compile check artifacts/model --reference ./folder --budget min_top1_agreement=0.9
    """
    from compiler import pipeline
    from compiler.bundle import digest_of
    from compiler.cli.divergence import show_diverged
    from compiler.cli.output import finish
    from compiler.cli.summary import show_checked
    from compiler.stages.seal import outside

    with working(verbose) as progress:
        checked = pipeline.check(
            bundle, reference=reference, adapters=adapters, budget=budget, seal=seal, progress=progress
        )
        found = (
            pipeline.bisect(bundle, reference=reference, adapters=adapters, budget=budget, progress=progress)
            if bisect
            else None
        )

    def show() -> None:
        show_checked(checked)
        if found:
            show_diverged(found)
        if seal:
            click.echo(f"sealed: {digest_of(bundle)}")
        click.echo(f"verdict: {'pass' if checked.passed else 'FAIL: ' + ', '.join(checked.reasons)}")

    result = {
        "bundle": bundle,
        "digest": digest_of(bundle),
        "verdict": "pass" if checked.passed else "fail",
        "checked": checked,
        **({"diverged": found} if found else {}),
    }
    finish(result, show, None if checked.passed else outside(str(bundle), checked, BISECT), as_json=as_json)
