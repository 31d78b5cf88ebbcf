"""What a report shows, as one record: the JSON format of `compile report`."""

from __future__ import annotations

from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.comparison import Compared
from compiler.records.divergence import Diverged
from compiler.records.evaluation import Evaluated
from compiler.records.sealed import Certificate


class Entry(Record, frozen=True):
    """One bundle.

    Where only the certificate is known, `size_bytes` (of all files) is None, and `digest` (the bundle's own, of files
    that were compared with it) is empty.
    """

    name: str
    location: str
    certificate: Certificate
    size_bytes: int | None = None
    digest: str = ""


class Report(Record, frozen=True):
    """Bundles, the first of which is the one that others are compared with, and what else is known about them.

    The texts of a user's data are in it only where `texts` is true.
    """

    entries: tuple[Entry, ...]
    evaluations: tuple[Evaluated, ...] = ()
    comparisons: tuple[Compared, ...] = ()
    divergences: tuple[Diverged, ...] = ()
    texts: bool = False
    schema_version: int = SCHEMA_VERSION
