"""A comparison for a person: verdicts, flipped answers, what changed, and what explains a broken gate."""

from __future__ import annotations

import math

import click

from compiler.cli.output import number, table
from compiler.records.comparison import Change, Compared, Flips, Verdict

GROUPED = 6  # rows that changed alike and are shown as one
NAMED = 3  # of a group
FLIPS, CAUSES = 20, 5  # shown


def show_compared(compared: Compared) -> None:
    """Everything that was found."""
    table(
        ("metric", "baseline", "candidate", "unit", "change, more is worse", "95 % interval", "margin", "samples",
         "verdict", "test"),
        [_verdict(verdict) for verdict in compared.verdicts],
        f"{compared.candidate.location} against {compared.baseline.location}",
    )  # fmt: skip
    if compared.flips:
        _flips(compared.flips)
    if compared.changes:
        table(("what", "name", "baseline", "candidate"), _grouped(compared.changes), "What changed")
    for place, cause in enumerate(compared.causes[:CAUSES], 1):
        explained = "" if cause.explains == compared.reasons else f"  [{', '.join(cause.explains)}]"
        click.echo(f"cause {place}: {cause.text}{explained}")
    if len(compared.causes) > CAUSES:
        click.echo(f"and {len(compared.causes) - CAUSES} less likely ones; --out keeps all")
    for verdict in compared.verdicts:
        if verdict.word == "not enough data":
            click.echo(f"not enough data: {verdict.subject} {verdict.name}: {_more(verdict, compared)}")
    for note in (*compared.baseline.notes, *compared.candidate.notes):
        click.echo(f"note: {note}")
    click.echo(f"verdict: {'pass' if compared.verdict == 'pass' else 'FAIL: ' + ', '.join(compared.reasons)}")


def _more(verdict: Verdict, compared: Compared) -> str:
    said = verdict.wanted
    rounds = next((len(each.baseline) for each in compared.timings if each.name == verdict.name), 0)
    if rounds and verdict.more is not None and compared.baseline.kind == compared.candidate.kind == "bundle":
        said += f", with --max-rounds {math.ceil(rounds * (1 + verdict.more / verdict.samples))}"
    return said


def _verdict(verdict: Verdict) -> tuple[object, ...]:
    name = f"{verdict.subject} {verdict.name}"
    said = f"{verdict.word.upper()} (gate broken)" if verdict.broken else verdict.word
    test = verdict.test if verdict.p_value is None else f"{verdict.test}, p {verdict.p_value:.3g}"
    return (
        name,
        verdict.shown.baseline or "-",
        verdict.shown.candidate,
        verdict.unit,
        verdict.changed,
        verdict.interval,
        verdict.allowed,
        verdict.samples,
        said,
        test,
    )


def _grouped(changes: tuple[Change, ...]) -> list[tuple[str, str, str, str]]:
    """Rows of one part that changed alike become one, where there are many."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for change in changes:
        groups.setdefault((change.part, change.baseline, change.candidate), []).append(change.name)
    rows = []
    for (part, before, after), names in groups.items():
        all_ = [f"{len(names)}: {', '.join(names[:NAMED])}, ..."] if len(names) > GROUPED else names
        rows += [(part, name, before or "-", after or "-") for name in all_]
    return rows


def _flips(flips: Flips) -> None:
    rows = [
        (
            flip.item,
            "-" if flip.place is None else flip.place,
            flip.baseline,
            flip.candidate,
            flip.baseline_margin,
            flip.candidate_margin,
            ", ".join(f"{token.index if token.text is None else token.text} ({number(token.influence)})"
                      for token in flip.tokens),
            *([flip.text] if flip.text is not None else []),
        )
        for flip in flips.flips[:FLIPS]
    ]  # fmt: skip
    texts = any(flip.text is not None for flip in flips.flips)
    header = (
        "row",
        "place",
        "baseline",
        "candidate",
        "baseline's margin",
        "candidate's margin",
        "tokens that decided",
        *(["text"] * texts),
    )
    count = f"{len(flips.flips)} of {flips.answers} answers to {flips.items} items differ"
    table(header, rows, f"{count}; the largest swing first, margins are probabilities")
    if len(flips.flips) > FLIPS:
        click.echo(f"and {len(flips.flips) - FLIPS} more; --out keeps all")
