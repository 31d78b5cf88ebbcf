"""`compile eval`: how good a bundle is at its task, by measured metrics or by people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli import options
from compiler.cli.progress import working
from compiler.errors import BudgetError, UsageError

if TYPE_CHECKING:
    from compiler.records import Evaluated, Metric

FILE = click.Path(path_type=Path)
CHANGES = ("typos", "case", "truncation", "padding")


def _columns(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    named = {}
    for value in values:
        role, sign, column = value.partition("=")
        if not sign or not role or not column:
            raise click.BadParameter(f'"{value}"; expected ROLE=NAME')
        named[role] = column
    return named


def _words(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


@click.command("eval", short_help="How good a bundle is at its task, beside PyTorch.")
@click.argument("paths", nargs=-1, type=FILE, metavar="[BUNDLE]")
@click.option("--data", type=FILE, help="A .jsonl or .csv file, or a folder that `datasets` saved.")
@click.option(
    "--column",
    "columns",
    metavar="ROLE=NAME",
    multiple=True,
    callback=_columns,
    help="What a column is for, such as text=sentence or label=gold. Repeatable.  [default: the usual names]",
)
@click.option(
    "--metrics",
    "-m",
    metavar="NAME,...",
    multiple=True,
    callback=_words,
    help="Metrics, or the groups rouge, diversity, privacy, efficiency.  [default: the task's own]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Draw a sample of so many rows.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed, for the sample too.")
@click.option("--against", type=options.FOLDER, help="Another bundle, on the same items.")
@options.reference
@click.option("--no-reference", is_flag=True, help="Leave PyTorch out.")
@click.option(
    "--robustness",
    metavar="KIND,...",
    multiple=True,
    callback=_words,
    help=f"Score again under {', '.join(CHANGES)}, or all of these, and show the drop.",
)
@click.option(
    "--secrets", type=FILE, help='Texts, or {"prefix": ..., "secret": ...}, that must not be given away: a line each.'
)
@click.option(
    "--canaries", type=FILE, help='Texts, or {"format": "... {}", "canary": ...}, planted in training: a line each.'
)
@click.option("--window", type=click.IntRange(min=2), help="Tokens that perplexity reads at once.")
@click.option("--stride", type=click.IntRange(min=1), help="Tokens from window to window.  [default: half a window]")
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="At most so many for each generated text.",
)
@click.option("--bins", type=click.IntRange(min=1), help="Bins of the calibration error.  [default: 15]")
@click.option("--include-texts", is_flag=True, help="Keep generated texts in the result.")
@click.option("--human", nargs=2, type=options.FOLDER, metavar="A B", help="Make a page on which people compare two.")
@click.option("--prompts", type=FILE, help="The prompts of that page: a line each, or a .jsonl or .csv file.")
@click.option("--ratings", type=FILE, multiple=True, help="Count files that such a page exported.")
@click.option("--out", "-o", type=FILE, metavar="FILE", help="Where the result is written: JSON, or the page.")
@options.output
def evaluate(  # noqa: PLR0917
    paths: tuple[Path, ...],
    ratings: tuple[Path, ...],
    human: tuple[Path, Path] | None,
    prompts: Path | None,
    data: Path | None,
    out: Path | None,
    as_json: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    """Evaluate BUNDLE on your data beside its checkpoint in PyTorch, with a 95 % confidence interval for every metric.

    Exit code 8 when it gives more of its secrets away than the checkpoint does.

    \b
    Examples:
      compile eval artifacts/sentiment --data reviews.csv --column text=review --column label=gold
      compile eval artifacts/ner --data test.jsonl --metrics entity_f1_micro --limit 500 --out ner.json
      compile eval artifacts/llm --data articles.jsonl --metrics perplexity --stride 256
      compile eval artifacts/llm --data prompts.jsonl -m privacy --secrets secrets.txt --canaries canaries.jsonl
      compile eval artifacts/sentiment --data reviews.csv --robustness all --against artifacts/previous --json
      compile eval --human artifacts/llm artifacts/previous --prompts prompts.txt -o compare.html
      compile eval --ratings anna.json ben.json
    """
    if ratings:
        _count((*ratings, *paths), out, as_json)
    elif human:
        _page(
            human,
            prompts=prompts,
            out=out,
            max_new_tokens=settings["max_new_tokens"],
            seed=settings["seed"],
            as_json=as_json,
            verbose=verbose,
        )
    elif len(paths) == 1 and data is not None:
        _evaluate(paths[0], data, out, as_json, verbose, **settings)
    else:
        raise UsageError(
            "nothing to evaluate" if not paths else "--data is missing" if len(paths) == 1 else "too many bundles",
            expected="BUNDLE --data FILE, or --human A B --prompts FILE, or --ratings FILE...",
        )


def _evaluate(
    bundle: Path,
    data: Path,
    out: Path | None,
    as_json: bool,
    verbose: bool,
    *,
    against: Path | None,
    reference: str | None,
    no_reference: bool,
    robustness: Sequence[str],
    include_texts: bool,
    **settings: Any,
) -> None:
    from compiler import evaluate, pipeline, records
    from compiler.cli.files import prepare, require_ending
    from compiler.cli.output import finish
    from compiler.progress import Event
    from compiler.storage import write_result

    if out is not None:
        require_ending(out, [".json", ""])
        prepare(out, [bundle, data])
    with working(verbose) as progress:
        progress(Event("data", str(data)))
        made = evaluate.bundle_at(bundle)
        plan = evaluate.plan(made, data, changes=robustness, **settings)
        systems = [made]
        if against is not None:
            systems.append(plan.require_alike(evaluate.bundle_at(against, "against")))
        if not no_reference:
            checkpoint = pipeline.checkpoint_of(made.manifest, reference, progress)
            systems.append(evaluate.reference_of(made, checkpoint.folder, checkpoint.location))
        progress(Event("evaluate", f"{bundle} on {data}"))
        result = plan.run(
            systems,
            include_texts=include_texts,
            progress=lambda message, done, total: progress(Event("evaluate", message, done, total)),
        )
    if out is not None:
        write_result(out, records.encode(result))
    finish(result, lambda: _show(result), _leak(bundle, result), as_json=as_json)


def _leak(bundle: Path, result: Evaluated) -> BudgetError | None:
    leaks = [f"{each.name} {each.shown} {each.unit}" for each in result.findings if not each.passed]
    if not leaks:
        return None
    return BudgetError(
        f"{bundle}: it gives more away than the checkpoint does",
        found=", ".join(leaks),
        expected="no increase",
        action="choose a finer --precision, and look at the secrets it finished",
    )


def _show(result: Evaluated) -> None:
    from compiler.cli.output import table

    first, *others = result.systems
    rows = []
    for metric in first.metrics:
        row: list[object] = [metric.name, metric.unit, _interval(metric)]
        for other in others:
            theirs = next((each for each in other.metrics if each.name == metric.name), None)
            row += [_interval(theirs), f"{metric.value - theirs.value:+.4g}"] if theirs else ["-", "-"]
        rows.append([*row, metric.samples])
    header = ["metric", "unit", first.name]
    for other in others:
        header += [other.name, f"difference to {other.name}"]
    table([*header, "samples"], rows, f"{result.items} items, {result.task}: value (95 % interval)")
    for finding in result.findings:
        verdict = "as with the reference" if finding.passed else f"RAISED by {finding.shown} {finding.unit}"
        click.echo(f"{finding.name}: {verdict} ({finding.samples} samples)")


def _interval(metric: Metric) -> str:
    if metric.samples == 1:
        return f"{_number(metric.value)} (once)"
    return f"{_number(metric.value)} ({_number(metric.low)} to {_number(metric.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _page(
    bundles: tuple[Path, Path],
    *,
    prompts: Path | None,
    out: Path | None,
    max_new_tokens: int,
    seed: int,
    as_json: bool,
    verbose: bool,
) -> None:
    from compiler.cli.files import prepare, require_ending
    from compiler.cli.output import emit
    from compiler.evaluate import human
    from compiler.progress import Event

    if prompts is None or out is None:
        raise UsageError("--human needs prompts and a page to write", expected="--prompts FILE -o PAGE.html")
    require_ending(out, [".html", ".htm", ""])
    prepare(out, [*bundles, prompts])
    with working(verbose) as progress:
        progress(Event("generate", f"answers of {bundles[0]} and {bundles[1]}"))
        count = human.write_page(
            bundles,
            prompts,
            out,
            max_new_tokens=max_new_tokens,
            seed=seed,
            progress=lambda message, done, total: progress(Event("generate", message, done, total)),
        )
    if as_json:
        emit({"page": out, "prompts": count})
    else:
        pairs = "1 pair" if count == 1 else f"{count} pairs"
        click.echo(f"{out}: {pairs} to compare; open it in a browser, and count the exports with --ratings")


def _count(files: Sequence[Path], out: Path | None, as_json: bool) -> None:
    from compiler import records
    from compiler.cli.files import prepare, require_ending
    from compiler.cli.output import emit, table
    from compiler.evaluate import ratings
    from compiler.storage import write_result

    if out is not None:
        require_ending(out, [".json", ""])
        prepare(out, files)
    counted = ratings.count([ratings.read(path) for path in files])
    if out is not None:
        write_result(out, records.encode(counted))
    if as_json:
        emit(counted)
        return
    rows = [
        (
            each.criterion,
            f"{each.win_rate:.3f} ({each.low:.3f} to {each.high:.3f})",
            each.wins,
            each.losses,
            each.ties,
            each.prompts,
            "-" if each.agreement is None else f"{each.agreement:.3f}",
        )
        for each in counted.criteria
    ]
    header = ("criterion", "win rate of A, share (95 %)", "wins", "losses", "ties", "prompts", "agreement (alpha)")
    click.echo(f"A: {counted.a}\nB: {counted.b}\n{counted.raters} raters, {counted.items} prompts")
    table(header, rows)
