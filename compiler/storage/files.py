"""Single files: written whole, flushed to the disk, and their digests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path

from compiler.errors import StorageError
from compiler.storage.full import ANY, storage_errors
from compiler.storage.leftovers import aside, sweep


def write_whole(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file beside `path` and move it there, when it is on the disk. Its folder is made.

    `mode` is the permissions; None is the usual ones.

    Raises:
        StorageError: the disk is full or not writable; what was at `path` is still there.
    """
    path = path.absolute()
    with storage_errors(path, ANY):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        partial = aside(path)
        try:
            with partial.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # while we live: how `sweep` tells a leftover from work at hand
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
            flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def write_result(path: Path, content: bytes) -> None:
    """Write a file that a user named: whole, as `write_whole` does, and through links; to a pipe or a device directly.

    An older file's permissions are kept.

    Raises:
        StorageError: it cannot be written; what was at `path` is still there.
    """
    if path.exists() and not path.is_file():
        with storage_errors(path.absolute(), ANY):
            path.write_bytes(content)
        return
    place = path.resolve()
    write_whole(place, content, mode=stat.S_IMODE(place.stat().st_mode) if place.exists() else None)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system without this for folders
            raise
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex; the file is streamed.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}", found=str(error.strerror)) from error
