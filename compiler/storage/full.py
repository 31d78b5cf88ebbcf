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
from compiler.storage.places import FULL, advice, existing

__all__ = ["ANY", "FULL", "storage_errors"]

ANY = frozenset(errno.errorcode)

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's tofile: an OSError without a number
_MIB = 1 << 20


@contextmanager
def storage_errors(target: Path, reasons: frozenset[int]) -> Iterator[None]:
    """Name the folder, the reason and what to do when what went wrong underneath was the disk."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if not (reason := _disk_reason(error, reasons)):
            raise
        number, words = reason
        place = existing(target)
        if number in FULL:
            free = shutil.disk_usage(place).free
            words += f"; {free} bytes ({free // _MIB} MiB) free in {place}"
        else:
            words += f": {place}"
        raise StorageError(
            f"cannot write {target}",
            found=words,
            action=f"{advice(number, target)}; nothing was left behind",
        ) from error


def _disk_reason(error: BaseException | None, reasons: frozenset[int]) -> tuple[int, str] | None:
    """The disk's complaint within an error or its causes; libraries often turn it into a message of their own."""
    full = os.strerror(errno.ENOSPC)
    while error is not None:
        if isinstance(error, OSError) and error.errno in reasons:
            return error.errno, str(error.strerror)
        if full in str(error):
            return errno.ENOSPC, full
        if isinstance(error, OSError) and _SHORT_WRITE.fullmatch(str(error)):
            return errno.ENOSPC, f"a write fell short: {error}"
        error = error.__cause__ or error.__context__
    return None
