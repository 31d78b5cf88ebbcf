"""Two names of the file system change places in one step, so that neither is ever missing."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # of linux/fs.h
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


def exchange(one: Path, other: Path) -> bool:
    """Let two existing paths of one file system change places; False where kernel, C library or file system cannot.

    Raises:
        OSError: they cannot be renamed at all.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # not glibc 2.28 or later
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    if (reason := ctypes.get_errno()) in _UNSUPPORTED:
        return False
    raise OSError(reason, os.strerror(reason), str(other))
