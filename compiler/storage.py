"""Writing to disk so that others see a folder whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.errors import StorageError, UsageError

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's tofile: an OSError without a number
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ANY = frozenset(errno.errorcode)
_MIB = 1 << 20


@contextmanager
def staging(target: Path, marker: str) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends, and vanishes when it raises.

    An older `target` is replaced, provided it is empty or holds a file called `marker`: a folder that something else
    wrote is never deleted. Leftovers of killed processes are swept away.

    Raises:
        UsageError: `target` exists and is not ours.
        StorageError: the disk is full or not writable.
    """
    target = target.absolute()
    others = target.with_name(f"{target.name}.staging")
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    alive: int | None = None
    try:
        with _storage_errors(target, _ANY), locked(others):
            _guard(target, marker)
            _sweep(target)
            folder.mkdir()
            alive = os.open(folder, os.O_RDONLY)  # locked while we live: how _sweep tells a leftover from work at hand
            fcntl.flock(alive, fcntl.LOCK_EX)
        with _storage_errors(target, _FULL):
            yield folder
            with locked(others):
                _guard(target, marker)
                _publish(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if alive is not None:
            os.close(alive)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` for one process (or thread) at a time; others wait here.

    The lock is a file beside `path`, and is gone when nobody holds it; a killed holder frees it too.

    Raises:
        StorageError: the lock file cannot be written.
    """
    path = path.absolute()
    file = path.with_name(f".{path.name}.lock")
    with _storage_errors(path, _ANY):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquire(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that others see it whole or not at all, also after a power cut; folders above it are made.

    Raises:
        StorageError: the disk is full or not writable.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with _storage_errors(path.absolute(), _ANY):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


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


def _acquire(file: Path) -> int:
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)  # the holder we waited for has removed the file: lock its successor


def _guard(target: Path, marker: str) -> None:
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir() or (any(target.iterdir()) and not (target / marker).is_file()):
        raise UsageError(
            f"{target} is in the way",
            found="a file, a link, or a folder that this command did not write",
            expected=f"nothing, an empty folder, or one with {marker}",
            action="choose another place, or remove it yourself",
        )


def _publish(folder: Path, target: Path) -> None:
    if not target.exists():
        folder.rename(target)
        return
    old = folder.with_suffix(".old")
    target.rename(old)
    try:
        folder.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sweep(target: Path) -> None:
    for leftover in target.parent.glob(f".{target.name}.*.partial"):
        try:
            handle = os.open(leftover, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leftover, ignore_errors=True)
        except BlockingIOError:
            pass  # somebody is writing it
        finally:
            os.close(handle)


@contextmanager
def _storage_errors(target: Path, reasons: frozenset[int]) -> Iterator[None]:
    """Name the folder and the free space when what went wrong underneath was the disk."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if not (reason := _disk_reason(error, reasons)):
            raise
        free = shutil.disk_usage(_existing(target)).free
        raise StorageError(
            f"cannot write {target}",
            found=f"{reason}; {free} bytes ({free // _MIB} MiB) free in {_existing(target)}",
            action="free some space or choose another folder; nothing was left behind",
        ) from error


def _disk_reason(error: BaseException | None, reasons: frozenset[int]) -> str:
    """The disk's complaint within an error or its causes; libraries often turn it into a message of their own."""
    full = os.strerror(errno.ENOSPC)
    while error is not None:
        if isinstance(error, OSError) and error.errno in reasons:
            return str(error.strerror)
        if full in str(error):
            return full
        if isinstance(error, OSError) and _SHORT_WRITE.fullmatch(str(error)):
            return f"a write fell short: {error}"
        error = error.__cause__ or error.__context__
    return ""


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
