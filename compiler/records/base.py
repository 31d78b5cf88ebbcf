"""What all records share: the base class, and the only way to disk and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compiler.errors import IntegrityError
from compiler.reading import parse_strict, read_bytes

SCHEMA_VERSION = 1


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all records: immutable, strict about unknown keys."""


R = TypeVar("R", bound=msgspec.Struct)


def encode(record: msgspec.Struct) -> bytes:
    """The record as indented JSON, UTF-8, keys in declaration order."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def save(record: msgspec.Struct, path: Path) -> None:
    """Write a record into a folder that is not in its place yet; elsewhere `storage.write_whole` the encoded one."""
    path.write_bytes(encode(record))


def load(path: Path, kind: type[R]) -> R:
    """Read a record back.

    Raises:
        IntegrityError: the file is missing, is not JSON, or does not fit the record.
    """
    if not path.exists():
        raise IntegrityError(
            f"{path}: no such file", expected=f"a {kind.__name__} record", action="point to a folder that a stage wrote"
        )
    return parse(read_bytes(path, IntegrityError), kind, str(path))


def parse(content: bytes, kind: type[R], name: str) -> R:
    """A record from its JSON; `name` says in an error where it came from.

    Raises:
        IntegrityError: it is not JSON, or does not fit the record.
    """
    try:
        found: R = parse_strict(content, kind, IntegrityError, name)
    except IntegrityError as error:
        raise IntegrityError(
            f"{name}: not a valid {kind.__name__} record",
            found=error.found or error.subject,
            action="rebuild it; it was changed or written by another version",
        ) from error
    return found


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON Schema of a record."""
    return msgspec.json.schema(kind)
