"""`scripts/planted_faults [--only SUBJECT] [--write]`: which planted faults the check finds."""

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
from tests.planted.subjects import SUBJECTS, build
from tests.planted.trial import FACTOR, Outcome, Trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "proof.md"
BEGIN, END = "<!-- planted:begin -->", "<!-- planted:end -->"
HEADER = ("kind", "model", "fault", "effect / noise", "found by")


def cells(outcome: Outcome) -> tuple[str, ...]:
    ratio = outcome.effect / outcome.noise
    shown = "refused" if math.isinf(ratio) else f"{ratio:,.0f}" if ratio >= FACTOR else f"{ratio:.1f}"
    found = ", ".join(outcome.reasons[:2]) or ("**nothing**" if outcome.above else "nothing: no more than noise")
    return outcome.kind, outcome.fault.subject, outcome.fault.name, shown, found


def markdown(outcomes: Sequence[Outcome]) -> str:
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    lines += [f"| {' | '.join(cells(outcome))} |" for outcome in outcomes]
    return "\n".join([summary(outcomes), "", *lines])


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many are above the noise, by kind, and how many of them were found."""
    parts = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        above = [outcome for outcome in outcomes if outcome.kind == kind and outcome.above]
        found = sum(not outcome.missed for outcome in above)
        parts.append(f"{kind} {found} of {len(above)}")
    below = sum(not outcome.above for outcome in outcomes)
    return f"Found of those above noise: {', '.join(parts)}. No more than noise: {below}."


def listed(text: str) -> list[tuple[str, str]]:
    """(model, fault) of every row between the document's markers."""
    block = re.search(f"{BEGIN}(.*?){END}", text, re.DOTALL)
    rows = re.findall(r"^\| [a-z-]+ \| ([^|]+) \| ([^|]+) \|", block[1] if block else "", re.MULTILINE)
    return [row for row in rows if row != HEADER[1:3]]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/planted_faults",
        description="Plant one fault after the other into tiny models that are right, measure its effect beside the "
        "model's own noise, and let the check judge. Ends with 1 when it passes a fault above the noise, or fails a "
        "model without a fault.",
        epilog="examples:\n  scripts/planted_faults --only t5\n  scripts/planted_faults --write",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="SUBJECT", choices=list(SUBJECTS), help="this model alone")
    parser.add_argument("--write", action="store_true", help="put the table into docs/proof.md")
    options = parser.parse_args()
    if options.only and options.write:
        parser.error("--write needs all models: leave out --only")
    console = Console(soft_wrap=True, highlight=False)
    outcomes: list[Outcome] = []
    broken = False
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only or SUBJECTS:
            trial = Trial(build(name, Path(scratch)))
            if reasons := trial(NOTHING).reasons:
                broken = True
                console.print(f"[red]{name} fails without a fault: {', '.join(reasons)}[/red]")
            for fault in FAULTS:
                if fault.subject == name:
                    outcomes.append(trial(fault))
                    console.print("  ".join(cells(outcomes[-1])), style="red" if outcomes[-1].missed else "")
    console.print(summary(outcomes))
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        text = re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{markdown(outcomes)}\n{END}", text, flags=re.DOTALL)
        write_result(DOCUMENT, text.encode())
    return 1 if broken or any(outcome.missed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
