"""What all records share: the base class, and the only way to disk and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compiler.errors import IntegrityError

SCHEMA_VERSION = 1


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all records: immutable, strict about unknown keys."""


R = TypeVar("R", bound=msgspec.Struct)


def encode(record: msgspec.Struct) -> bytes:
    """The record as indented JSON, UTF-8, keys in declaration order."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def save(record: msgspec.Struct, path: Path) -> None:
    path.write_bytes(encode(record))


def load(path: Path, kind: type[R]) -> R:
    """Read a record back.

    Raises:
        IntegrityError: the file is missing, is not JSON, or does not fit the record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path}: no such file", expected=f"a {kind.__name__} record", action="point to a folder that a stage wrote"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{path}: not a valid {kind.__name__} record",
            found=str(error),
            action="rebuild it; it was changed or written by another version",
        ) from error


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON Schema of a record."""
    return msgspec.json.schema(kind)
