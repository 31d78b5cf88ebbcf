"""What the disk complained of, wherever in a chain of errors it says so."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.errors import StorageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ANY = frozenset(errno.errorcode)

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's tofile: an OSError without a number
_MIB = 1 << 20


@contextmanager
def storage_errors(target: Path, reasons: frozenset[int]) -> Iterator[None]:
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
