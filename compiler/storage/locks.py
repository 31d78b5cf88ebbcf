"""One process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.storage.full import ANY, storage_errors


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` for one process (or thread) at a time; others wait here.

    The lock is a file beside `path`, and is gone when nobody holds it; a killed holder frees it too.

    Raises:
        StorageError: the lock file cannot be written.
    """
    path = path.absolute()
    file = path.with_name(f".{path.name}.lock")
    with storage_errors(path, ANY):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquire(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)


def _acquire(file: Path) -> int:
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)  # the holder we waited for has removed the file: lock its successor
