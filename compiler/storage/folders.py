"""Whole folders or none."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compiler.errors import StorageError, UsageError
from compiler.storage.exchange import exchange
from compiler.storage.files import flush
from compiler.storage.full import ANY, FULL, storage_errors
from compiler.storage.leftovers import aside, remove, restore, sweep, waits
from compiler.storage.locks import locked
from compiler.storage.places import advice, told, trouble


@contextmanager
def staging(target: Path, marker: str) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends, and vanishes when it raises.

    An older `target` is replaced, provided it is empty or holds a file called `marker`: a folder that something else
    wrote is never deleted. The new one is on the disk before, and the two change places in one step, so that at no
    moment there is none. Leftovers of killed processes are swept away.

    Raises:
        UsageError: `target` exists and is not ours.
        StorageError: the disk is full or not writable.
    """
    target = target.absolute()
    folder = aside(target)
    alive: int | None = None
    try:
        with storage_errors(target, ANY), locked(_writers(target)):
            restore(target)
            _guard(target, marker)
            sweep(target)
            folder.mkdir()
            alive = os.open(folder, os.O_RDONLY)  # locked while we live: how `sweep` tells a leftover from work at hand
            fcntl.flock(alive, fcntl.LOCK_EX)
        with storage_errors(target, FULL):
            yield folder
        with storage_errors(target, ANY):
            _flush_all(folder)
            with locked(_writers(target)):
                _guard(target, marker)
                _publish(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the new one where it came to nothing, or the old one
        if alive is not None:
            os.close(alive)


def require_place(target: Path, marker: str) -> None:
    """What `staging` would refuse of `target`, asked before the work.

    Raises:
        UsageError, StorageError: as `staging`.
    """
    recover(target)
    _guard(target, marker)
    require_writable(target)


def require_writable(target: Path) -> None:
    """Nothing where a folder or a file could be made at `target`; tried beside it, or above where there is no folder.

    Raises:
        StorageError: it could not.
    """
    folder = target.absolute().parent
    if problem := trouble(folder):
        raise StorageError(
            f"cannot write {target}", found=told(problem, folder), action=advice(problem.errno, folder)
        ) from problem


def recover(target: Path) -> None:
    """Put back the folder that a killed process had moved aside to make room for a new one that never came.

    It does what it can: a place that cannot be written stays as it is.
    """
    target = target.absolute()
    if waits(target):
        with suppress(StorageError, OSError), locked(_writers(target)):
            restore(target)


def discard(path: Path) -> None:
    """Remove a file or a folder at once; a kill leaves it whole, or as a leftover that `staging` sweeps away.

    Raises:
        StorageError: it cannot be removed.
    """
    path = path.absolute()
    with storage_errors(path, ANY):
        gone = aside(path)
        with suppress(FileNotFoundError):
            path.rename(gone)
            remove(gone)


def _writers(target: Path) -> Path:
    return target.with_name(f"{target.name}.staging")


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
    """Move the new folder to its place; an older one then has the name that the new one had."""
    if not target.exists():
        folder.rename(target)
    elif not exchange(folder, target):
        _replace(folder, target)
    flush(target.parent)


def _replace(folder: Path, target: Path) -> None:
    """The same in two renames, between which a kill leaves the old one to `restore`."""
    old = folder.with_suffix(".old")
    target.rename(old)
    try:
        folder.rename(target)
    except BaseException:
        old.rename(target)
        raise
    old.rename(folder)


def _flush_all(folder: Path) -> None:
    """Wait until everything in a folder is on the disk."""
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                flush(path)
        flush(Path(root))
