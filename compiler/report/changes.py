"""What differs between bundles: one table, the first bundle's column first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from compiler.figures import exact
from compiler.records import Certificate
from compiler.records.document import Entry


class Row(NamedTuple):
    name: str
    values: tuple[str, ...]


def changes(entries: Sequence[Entry]) -> list[Row]:
    """Every property that is not the same for all of them. A bundle without it has an empty cell."""
    facts = [_facts(entry.certificate) for entry in entries]
    names = dict.fromkeys(name for each in facts for name in each)
    rows = (Row(name, tuple(each.get(name, "") for each in facts)) for name in names)
    return [row for row in rows if len(set(row.values)) > 1]


def _facts(certificate: Certificate) -> dict[str, str]:
    kept = [run for run in certificate.passes if run.kept and run.modified]
    operators: Counter[str] = Counter()
    for placement in certificate.placement:
        operators[f"{placement.operator} in {placement.precision}"] += placement.count
    return {
        "checkpoint": certificate.source.name,
        "checkpoint digest": certificate.source.digest[:16],
        "task": certificate.task,
        "profile": certificate.profile,
        "precision": certificate.precision,
        **{f"budget {name}": exact(value) for name, value in certificate.budget.items()},
        **{f"pass {name}": "changed the model" for name in dict.fromkeys(run.name for run in kept)},
        **{f"nodes {name}": str(count) for name, count in sorted(operators.items())},
        "processor": certificate.machine.cpu,
        **{f"version of {name}": version for name, version in certificate.versions.items()},
    }
