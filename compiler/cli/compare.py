"""`compile compare`: is a candidate as fast and as good as what it is to replace, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli import options
from compiler.cli.progress import working
from compiler.errors import RegressionError, UsageError

if TYPE_CHECKING:
    from compiler.compare import Opened
    from compiler.evaluate.data import Row
    from compiler.progress import Report
    from compiler.records.comparison import Compared, Flips

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="A candidate against the baseline it is to replace.")
@click.argument("sides", nargs=-1, metavar="BASELINE CANDIDATE", shell_complete=options.complete_path)
@click.option("--gates", metavar="FILE", type=FILE, help="How much worse it may be, as TOML.")
@click.option("--evaluation", nargs=2, metavar="FILE FILE", type=FILE, help="What `compile eval` wrote for the two.")
@click.option("--data", metavar="FILE", type=click.Path(path_type=Path), help="Items whose flipped answers to name.")
@click.option("--column", "columns", metavar="ROLE=NAME", multiple=True, help="A column of the data. Repeatable.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="At most so many items of the data.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Which items those are.")
@click.option("--include-texts", is_flag=True, help="Show the texts of flipped items, not only their numbers.")
@click.option("--no-latency", is_flag=True, help="Leave out speed and memory.")
@click.option("--max-rounds", metavar="N", type=click.IntRange(min=5), help="Measure so many times at most.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Keep the result, JSON.")
@click.option("--save-baseline", metavar="NAME", help="Keep the one bundle named as a baseline, and do nothing else.")
@options.output
def compare(
    *,
    sides: tuple[str, ...],
    gates: Path | None,
    evaluation: tuple[Path, Path] | None,
    data: Path | None,
    columns: tuple[str, ...],
    limit: int | None,
    seed: int,
    include_texts: bool,
    no_latency: bool,
    max_rounds: int | None,
    out: Path | None,
    save_baseline: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Compare CANDIDATE with BASELINE: bundles, certificates, or baselines by name. Exit code 9 when a gate is broken.

    Two bundles are measured here, in turns. Anything else is compared by stored samples, which must be of one machine
    and of the same versions.

    \b
    Examples:
      compile compare artifacts/old artifacts/new
      compile compare artifacts/old artifacts/new --gates gates.toml --json --out compared.json
      compile compare artifacts/old artifacts/new --evaluation old.json new.json --data test.jsonl
      compile compare --save-baseline v1 artifacts/model
      compile compare v1 artifacts/new --no-latency
    """
    from compiler import compare as comparison
    from compiler import records
    from compiler.cli.comparison import show_compared
    from compiler.cli.files import prepare, require_ending
    from compiler.cli.output import emit, finish
    from compiler.compare import gates as limits
    from compiler.evaluate.data import read, sample
    from compiler.progress import Event, report
    from compiler.records import Evaluated
    from compiler.storage import write_result

    wanted = 1 if save_baseline else 2
    if len(sides) != wanted:
        expected = "one bundle to save" if save_baseline else "a baseline and a candidate"
        raise UsageError("compare", found=f"{len(sides)} arguments", expected=expected)
    if save_baseline:
        if save_baseline.endswith(".json"):
            prepare(Path(save_baseline), [Path(sides[0])])
        path = comparison.save_baseline(save_baseline, Path(sides[0]))
        emit({"baseline": path}) if as_json else click.echo(path)
        return
    if out:
        require_ending(out, [".json", ""])
        prepare(out, [Path(side) for side in sides])
    allowed = limits.load(gates) if gates else limits.Gates()
    if gates:
        limits.require_judged(allowed, gates, evaluated=bool(evaluation))
    with working(verbose) as progress:
        progress(Event("compare", f"{sides[1]} against {sides[0]}"))
        rows = sample(read(data), limit, seed) if data else {}
        baseline, candidate = (comparison.read(side) for side in sides)
        comparison.of_one_task(baseline, candidate)
        evaluated = [records.load(path, Evaluated) for path in evaluation or ()]
        flips = (
            _flips(
                (baseline, candidate),
                str(data),
                rows,
                columns,
                include_texts=include_texts,
                progress=report(progress, "compare"),
            )
            if data
            else None
        )
        compared = comparison.compare(
            baseline,
            candidate,
            allowed,
            with_latency=not no_latency,
            most_rounds=max_rounds,
            evaluations=(evaluated[0], evaluated[1]) if evaluated else None,
            flips=flips,
            progress=report(progress, "compare"),
        )
    if out:
        write_result(out, records.encode(compared))
    finish({"compared": compared}, lambda: show_compared(compared), _regression(compared), as_json=as_json)


def _regression(compared: Compared) -> RegressionError | None:
    if compared.verdict == "pass":
        return None
    count = len(compared.reasons)
    return RegressionError(
        f"{compared.candidate.location}: {count} {'gate is' if count == 1 else 'gates are'} broken",
        found=", ".join(compared.reasons),
        expected=f"within its own limits, and no worse than {compared.baseline.location} by more than the gates allow",
        action=f"look at the likeliest cause first: {compared.causes[0].text}",
    )


def _flips(
    sides: tuple[Opened, Opened],
    data: str,
    rows: dict[int, Row],
    columns: tuple[str, ...],
    *,
    include_texts: bool,
    progress: Report,
) -> Flips:
    """Both bundles on the rows of a file. Raises UsageError where one of the two is no bundle."""
    from compiler.compare.asked import asking
    from compiler.compare.flips import answering, flips
    from compiler.evaluate.columns import bind
    from compiler.evaluate.labels import answers_of

    baseline, candidate = sides
    if not (baseline.folder and candidate.folder and baseline.manifest and candidate.manifest):
        stored = baseline if baseline.folder is None else candidate
        raise UsageError(
            "--data: only two bundles can answer",
            found=f"{stored.side.location}, a {stored.side.kind}",
            action="name two bundles, or leave --data out",
        )
    way = answering(baseline.side.task)
    named = dict(_column(each) for each in columns)
    answers = answers_of(baseline.folder, baseline.manifest)
    items = bind(baseline.side.task, rows, named, way.fields, answers)
    with asking(baseline.folder, baseline.manifest) as first, asking(candidate.folder, candidate.manifest) as second:
        return flips(first, second, items, rows=list(rows), data=data, include_texts=include_texts, progress=progress)


def _column(given: str) -> tuple[str, str]:
    role, separator, name = given.partition("=")
    if not separator or not role or not name:
        raise UsageError(f"--column {given}", expected="ROLE=NAME, such as text=review")
    return role, name
