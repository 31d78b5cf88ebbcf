"""Files that a command was asked to write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from compiler.errors import StorageError, UsageError


def require_ending(out: Path, known: Iterable[str], action: str = "name the file so") -> str:
    """The ending of a file, in lower case, from which a reader will take its format; "" where there is none.

    Raises:
        UsageError: it is not one of the known ones.
    """
    if (ending := out.suffix.lower()) not in known:
        raise UsageError(
            f"{out}: no format that is written here has this ending",
            found=out.suffix or "no ending",
            expected=", ".join(filter(None, known)),
            action=action,
        )
    return ending


def prepare(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Make the folder of a file that will be written; asked before any work, which would be lost otherwise.

    Raises:
        UsageError: it is one of the inputs, lies in a bundle, or is a folder.
        StorageError: it cannot be written.
    """
    from compiler.bundle import MANIFEST
    from compiler.storage import advice, told

    place = out.resolve()
    if (place.parent / MANIFEST).exists() or any(path.resolve() == place for path in inputs):
        raise UsageError(
            f"{out}: an input is not overwritten",
            found="a file among the inputs, or in a bundle's folder",
            action="name another file",
        )
    if place.is_dir():
        raise UsageError(f"{out}: a folder", expected="a file to write")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{out}: cannot be written", found=told(error, place), action=advice(error.errno, place)
        ) from error
    beside = [] if out.exists() and not out.is_file() else [place.parent]  # a pipe or a device is written directly
    if not all(os.access(each, os.W_OK) for each in (*([out] if out.exists() else []), *beside)):
        raise StorageError(
            f"{out}: cannot be written",
            found="no permission for the file or its folder",
            expected="both, since the file is written beside its place and moved there",
            action="name another file",
        )
