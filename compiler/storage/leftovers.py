"""What killed processes left beside a path that they were writing.

While `path` is written, the new file or folder is `.NAME.XXXXXXXX.partial` beside it, locked by its writer. Where two
names cannot be exchanged, an older folder is `.NAME.XXXXXXXX.old` for the moment between two renames.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


def aside(path: Path) -> Path:
    """A new name beside `path` for what is to take its place."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def sweep(path: Path) -> None:
    """Remove what nobody writes any more."""
    for leftover in _named(path, "partial"):
        try:
            handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(leftover)
        except BlockingIOError:
            pass  # somebody is writing it
        finally:
            os.close(handle)


def restore(path: Path) -> None:
    """Put an older folder back where a kill left none, and remove it where its successor had arrived."""
    for old in _named(path, "old"):
        if not os.path.lexists(path):
            old.rename(path)
        else:
            gone = old.with_suffix(".partial")  # a half removed folder must never be put back
            old.rename(gone)
            remove(gone)


def waits(path: Path) -> bool:
    """Whether an older folder waits to be put back."""
    return not os.path.lexists(path) and next(_named(path, "old"), None) is not None


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _named(path: Path, suffix: str) -> Iterator[Path]:
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.{suffix}")
    if path.parent.is_dir():
        yield from [each for each in path.parent.iterdir() if pattern.fullmatch(each.name)]
