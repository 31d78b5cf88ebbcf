"""Which bundle an evaluation is of: by its digest alone, since a folder's content changes and its name does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compiler.records import Evaluated, System
from compiler.records.document import Entry

REFERENCE = "reference"
SHOWN = 12  # digits of a digest


class Named(NamedTuple):
    """A system with the name that tables give it, and what is known about where it is from."""

    name: str
    origin: str
    system: System


def is_of(system: System, entry: Entry) -> bool:
    """Whether the system is this very bundle. Of a lone certificate nobody knows the bundle's digest."""
    return bool(entry.digest) and entry.digest.removeprefix("sha256:") == system.digest


def named(evaluated: Evaluated, entries: Sequence[Entry]) -> list[Named]:
    """The systems under the names of the report's bundles; one that is none of these, under its location and digest."""
    return [_named(system, entries) for system in evaluated.systems]


def judged(evaluated: Evaluated, entries: Sequence[Entry]) -> str:
    """The name of the system that the findings are about: the first."""
    return next((each.name for each in named(evaluated, entries)), "no system")


def _named(system: System, entries: Sequence[Entry]) -> Named:
    if system.name == REFERENCE:
        return Named(REFERENCE, f"{system.location}, checkpoint {system.digest[:SHOWN]}", system)
    digest = f"sha256:{system.digest[:SHOWN]}"
    if own := [entry.name for entry in entries if is_of(system, entry)]:
        return Named(", ".join(own), digest, system)
    return Named(f"{system.location} ({digest})", "no bundle of this report has this digest", system)
