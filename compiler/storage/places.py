"""Where the cache is, whether a folder can be written, and what to do where it cannot."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from compiler.errors import StorageError

CACHE = "TRANSFORMER_COMPILER_CACHE"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ROOM = 1 << 16  # bytes that a folder must at least have room for

_ACTIONS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on a file's size (ulimit -f)",
    errno.EACCES: "give yourself the right to write there",
    errno.EPERM: "give yourself the right to write there",
    errno.EROFS: "mount that file system for writing",
    errno.ENOTDIR: "move the file that stands where a folder has to be",
    errno.EEXIST: "move the file that stands where a folder has to be",
}


def cache_folder() -> Path:
    """`$TRANSFORMER_COMPILER_CACHE`, or `transformer-compiler` in the user's cache folder.

    Raises:
        StorageError: it lies in the home of a user that is not known.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    chosen = os.environ.get(CACHE) or f"{base}/transformer-compiler"
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise StorageError(f"{chosen}: no place for the cache", found=str(error), action=f"set {CACHE}") from error


def require_cache() -> None:
    """Make sure that the cache can be written, before any work that would be lost.

    Raises:
        StorageError: it cannot, with the reason and the variable that moves it.
    """
    folder = cache_folder()
    if problem := trouble(folder):
        raise StorageError(
            f"{folder}: the cache cannot be used",
            found=told(problem, folder),
            expected="a folder that can be written",
            action=advice(problem.errno, folder),
        ) from problem


def trouble(folder: Path) -> OSError | None:
    """What stands in the way of writing into a folder, or of making it; tried, and nothing stays behind."""
    place = existing(folder)
    try:
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def told(error: OSError, target: Path) -> str:
    """The system's complaint, and about what."""
    return f"{error.strerror or error}: {existing(target)}"


def advice(number: int | None, target: Path) -> str:
    """What to do about an `errno` of writing `target`."""
    home = cache_folder().absolute()
    place = target.absolute()
    other = f"set {CACHE} to another folder" if place == home or home in place.parents else "choose another folder"
    first = _ACTIONS.get(number or 0)
    return f"{first}, or {other}" if first else other


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder or file above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))
