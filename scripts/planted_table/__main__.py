"""`scripts/planted_faults [--only SUBJECT] [--precision PRECISION] [--write]`: which planted faults the check finds."""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from compiler.storage import write_result
from tests.planted import FAULTS, NOTHING
from tests.planted.subjects import PRECISIONS, SUBJECTS, build, offered
from tests.planted.trial import Outcome, Trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "proof.md"
BEGIN, END = "<!-- planted:begin -->", "<!-- planted:end -->"
HEADER = ("kind", "model", "fault", *PRECISIONS, "found by")
MISSED = "**missed**"

Row = Sequence[Outcome]  # of one fault, in the precisions of its model


def cells(row: Row) -> tuple[str, ...]:
    first, tried = row[0], {outcome.precision: outcome for outcome in row}
    ratios = [ratio(tried[precision]) if precision in tried else "–" for precision in PRECISIONS]
    found: dict[str, list[str]] = {}
    for outcome in row:
        if outcome.reasons:
            found.setdefault(outcome.reasons[0], []).append(outcome.precision)
    said = [f"{reason} ({', '.join(where)})" for reason, where in found.items()]
    return first.kind, first.fault.subject, first.fault.name, *ratios, ", ".join(said) or "nothing"


def ratio(outcome: Outcome) -> str:
    """Effect over the right engine's own error: in brackets where that is no more than noise, bold where missed."""
    times = outcome.effect / outcome.noise
    shown = "refused" if math.isinf(times) else f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    return f"{shown} {MISSED}" if outcome.missed else shown if outcome.above else f"({shown})"


def markdown(rows: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join([summary(rows), "", *lines])


def summary(rows: Sequence[Row]) -> str:
    """How many are above the noise, by precision and kind, and how many of them were found."""
    outcomes = [outcome for row in rows for outcome in row]
    parts = []
    for precision in PRECISIONS:
        tried = [outcome for outcome in outcomes if outcome.precision == precision]
        kinds = []
        for kind in dict.fromkeys(outcome.kind for outcome in tried):
            above = [outcome for outcome in tried if outcome.kind == kind and outcome.above]
            kinds.append(f"{kind} {sum(not outcome.missed for outcome in above)} of {len(above)}")
        if tried:
            below = sum(not outcome.above for outcome in tried)
            parts.append(f"- {precision}: {', '.join(kinds)}; no more than noise: {below}")
    return "\n".join(["Found of those above noise:", "", *parts])


def listed(text: str) -> list[tuple[str, str]]:
    """(model, fault) of every row between the document's markers."""
    block = re.search(f"{BEGIN}(.*?){END}", text, re.DOTALL)
    rows = re.findall(r"^\| [a-z-]+ \| ([^|]+) \| ([^|]+) \|", block[1] if block else "", re.MULTILINE)
    return [row for row in rows if row != HEADER[1:3]]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/planted_faults",
        description="Plant one fault after the other into tiny models that are right, measure its effect beside the "
        "right engine's own error, and let the check judge. Ends with 1 when it passes a fault above the noise, or "
        "fails a model without a fault.",
        epilog="examples:\n  scripts/planted_faults --only t5 --precision int8\n  scripts/planted_faults --write",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="SUBJECT", choices=list(SUBJECTS), help="this model alone")
    parser.add_argument(
        "--precision", action="append", choices=list(PRECISIONS), help="this alone; default: all that a model has"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/proof.md")
    options = parser.parse_args()
    if options.write and (options.only or options.precision):
        parser.error("--write needs all models in all precisions: leave out --only and --precision")
    console = Console(soft_wrap=True, highlight=False)
    rows: dict[str, list[Outcome]] = {}
    broken = False
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only or SUBJECTS:
            for precision in offered(name):
                if precision in (options.precision or PRECISIONS):
                    tried, right = run(name, precision, Path(scratch), console)
                    broken = broken or not right
                    for outcome in tried:
                        rows.setdefault(outcome.fault.id, []).append(outcome)
    order = [rows[fault.id] for name in SUBJECTS for fault in FAULTS if fault.subject == name and fault.id in rows]
    console.print(summary(order))
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        text = re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{markdown(order)}\n{END}", text, flags=re.DOTALL)
        write_result(DOCUMENT, text.encode())
    return 1 if broken or any(outcome.missed for row in order for outcome in row) else 0


def run(name: str, precision: str, folder: Path, console: Console) -> tuple[list[Outcome], bool]:
    """All faults of a model in one precision, and whether it passes without any."""
    trial = Trial(build(name, folder, precision))
    if reasons := trial(NOTHING).reasons:
        console.print(f"[red]{name} at {precision} fails without a fault: {', '.join(reasons)}[/red]")
    outcomes = []
    for fault in FAULTS:
        if fault.subject == name and precision in fault.precisions:
            outcomes.append(trial(fault))
            said = f"{precision}  {name}  {fault.name}  {ratio(outcomes[-1])}  {', '.join(outcomes[-1].reasons[:3])}"
            console.print(said, style="red" if outcomes[-1].missed else "", markup=False)
    return outcomes, not reasons


if __name__ == "__main__":
    sys.exit(main())
