"""What explains a broken gate best, of all that changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from compiler.compare.precisions import ORDER
from compiler.records.comparison import Cause, Change, Part, Subject, Verdict

# What usually moves a metric, the likeliest first. What is not in a row cannot move it.
LIKELY: dict[Subject, tuple[Part, ...]] = {
    "latency": ("precision", "fusions", "passes", "operators", "engine", "graph", "checkpoint", "toolchain", "machine"),
    "memory": ("precision", "engine", "fusions", "operators", "checkpoint", "graph", "toolchain", "machine"),
    "size": ("precision", "checkpoint", "graph", "sizes", "passes", "tokenizer", "toolchain"),
    "quality": ("checkpoint", "precision", "tokenizer", "chat template", "configuration", "passes", "fusions",
                "operators", "engine", "graph", "toolchain", "machine"),
    "parity": ("precision", "passes", "fusions", "operators", "engine", "graph", "checkpoint", "tokenizer",
               "configuration", "toolchain", "machine"),
    "fusions": ("passes", "fusions", "engine", "graph", "checkpoint", "toolchain"),
    "precision": ("precision", "passes", "toolchain"),
}  # fmt: skip
COSTLY_HIGH: frozenset[Subject] = frozenset({"latency", "memory", "size"})  # to which more bits are a cost
NAMED = 4  # modules, operators, ... that one cause names
MODEL_WIDE = ("of the build", "profile")


def causes(verdicts: Sequence[Verdict], changes: Sequence[Change]) -> list[Cause]:
    """For all broken gates, the likeliest first; changes of one kind from one value to another are one cause.

    What the candidate's own certificate fails for is known, whatever changed.
    """
    own = [_own(verdict) for verdict in verdicts if verdict.broken and verdict.subject == "certificate"]
    broken = [verdict for verdict in verdicts if verdict.broken and verdict.subject != "certificate"]
    return (_of_changes(broken, changes) if broken else []) + own


def _own(verdict: Verdict) -> Cause:
    return Cause(kind="certificate", subject=verdict.test, baseline="", candidate="", explains=(verdict.code,))


def _of_changes(broken: Sequence[Verdict], changes: Sequence[Change]) -> list[Cause]:
    ranked: list[tuple[tuple[int, int], Cause]] = []
    for cause, rows in _grouped(changes):
        ranks = {verdict.code: _rank(verdict.subject, rows[0]) for verdict in broken}
        if explained := {code: rank for code, rank in ranks.items() if rank is not None}:
            ranked.append(
                ((min(explained.values()), -len(rows)), msgspec.structs.replace(cause, explains=tuple(explained)))
            )
    if ranked:
        return [cause for _, cause in sorted(ranked, key=lambda entry: entry[0])]
    codes = tuple(verdict.code for verdict in broken)
    return [
        Cause(kind="unknown", subject="nothing that is recorded differs", baseline="", candidate="", explains=codes)
    ]


def _grouped(changes: Sequence[Change]) -> Iterator[tuple[Cause, list[Change]]]:
    groups: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        own = () if change.part == "precision" and change.name not in MODEL_WIDE else (change.name,)
        groups.setdefault((change.part, change.baseline, change.candidate, *own), []).append(change)
    for rows in groups.values():
        names = [row.name for row in rows]
        rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        subject = ", ".join(names[:NAMED]) + rest
        first = rows[0]
        yield (
            Cause(kind=first.part, subject=subject, baseline=first.baseline, candidate=first.candidate, explains=()),
            rows,
        )


def _rank(subject: Subject, change: Change) -> int | None:
    """The place among the likely causes; behind them all where it changed for the better. None: it cannot matter."""
    likely = LIKELY[subject]
    if change.part not in likely:
        return None
    place = 2 * likely.index(change.part)
    if change.part == "precision" and change.name in MODEL_WIDE:
        return place + 1  # the modules say it more closely
    return place + 2 * len(likely) if _harmless(subject, change) else place


def _harmless(subject: Subject, change: Change) -> bool:
    match change.part:
        case "precision" if change.baseline in ORDER and change.candidate in ORDER:
            raised = ORDER.index(change.candidate) > ORDER.index(change.baseline)
            return raised != (subject in COSTLY_HIGH)
        case "fusions":
            return int(change.candidate or 0) > int(change.baseline or 0)
    return False
