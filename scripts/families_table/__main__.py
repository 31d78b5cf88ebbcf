"""`scripts/families [--only NAME] [--write] [--json]`: the table of families, and whether the documented one holds."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compiler.storage import write_result
from families_table.row import Row, run
from tests.families import FAMILIES, Family

DOCUMENT = Path(__file__).parents[2] / "docs" / "families.md"
BEGIN, END = "<!-- families:begin -->", "<!-- families:end -->"
HEADER = ("family", "task", "attention whole / fused", "norms", "rotary", "max error (limit)", "generation", "export s")


def cells(row: Row) -> tuple[str, ...]:
    error = f"{row.error:.1e} ({row.limit:.1e})"
    shown = row.agreement or "–"
    return (
        row.family,
        row.task,
        f"{row.attention} / {row.fused}",
        str(row.norms),
        str(row.rotary),
        error,
        shown,
        f"{row.seconds:.1f}",
    )


def markdown(rows: list[Row]) -> str:
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows if not row.failure]
    return "\n".join(lines)


def claimed(text: str) -> set[tuple[str, str]]:
    """(family, task) of every row between the document's markers."""
    block = re.search(f"{BEGIN}(.*?){END}", text, re.DOTALL)
    rows = re.findall(r"^\| ([^|]+) \| ([a-z0-9-]+) \|", block[1] if block else "", re.MULTILINE)
    return {(family.strip(), task) for family, task in rows if family.strip() != HEADER[0]}


def run_all(families: list[Family], scratch: Path) -> Iterator[Row]:
    """One row after the other, in a process that is replaced when a row ends it."""
    left = list(families)
    while left:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
            while left:
                family = left.pop(0)
                try:
                    yield worker.submit(run, family, scratch / family.id).result()
                except BrokenProcessPool:
                    yield Row(family.name, family.task, failure="the process ended without an answer")
                    break


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/families",
        description="Compile a tiny random model of every family and task, compare it with PyTorch, and print what "
        "came out. Ends with 1 when a row of the table in docs/families.md fails or is missing.",
        epilog="examples:\n"
        "  scripts/families\n"
        "  scripts/families --only t5 --only bart\n"
        "  scripts/families --write         after a change that a row shows\n"
        "  scripts/families --json > table.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this family alone; repeatable")
    parser.add_argument("--write", action="store_true", help="put the rows that pass into docs/families.md")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    options = parser.parse_args()
    names = {family.name for family in FAMILIES}
    if unknown := sorted(set(options.only or ()) - names):
        parser.error(f"unknown family {', '.join(unknown)}; known: {', '.join(sorted(names))}")
    if options.only and options.write:
        parser.error("--write needs all families: leave out --only")
    text = DOCUMENT.read_text(encoding="utf-8")
    if options.write and not (BEGIN in text and END in text):
        parser.error(f"{DOCUMENT} has no {BEGIN} and {END}: put them where the table belongs")

    progress = Console(stderr=True, soft_wrap=True)
    rows: list[Row] = []
    chosen = [family for family in FAMILIES if not options.only or family.name in options.only]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TRANSFORMER_COMPILER_CACHE"] = str(Path(scratch) / "cache")
        for count, row in enumerate(run_all(chosen, Path(scratch)), start=1):
            rows.append(row)
            verdict = f"[red]{escape(row.failure)}[/red]" if row.failure else f"error {row.error:.1e} {row.agreement}"
            progress.print(f"{count}/{len(chosen)} {row.family} {row.task}: {verdict}", highlight=False)

    if options.write:
        text = re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{markdown(rows)}\n{END}", text, flags=re.DOTALL)
        write_result(DOCUMENT, text.encode())
    ran = {(row.family, row.task) for row in rows}
    failed = {(row.family, row.task) for row in rows if row.failure}
    broken = {key for key in claimed(text) if key in failed or (key not in ran and not options.only)}
    if options.json:
        print(json.dumps({"rows": [dataclasses.asdict(row) for row in rows], "broken": sorted(broken)}, indent=2))
    else:
        table = Table(*HEADER)
        for row in rows:
            table.add_row(*(cells(row) if not row.failure else (row.family, row.task, escape(row.failure))))
        Console(width=160).print(table)
    for name, task in sorted(broken):
        progress.print(
            f"[red]docs/families.md claims {name} for {task}, and it failed or is no row of tests/families.py[/red]"
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
