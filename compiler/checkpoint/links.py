"""Links of a checkpoint that lead nowhere, as a download that was cut short or a cleaned cache leaves them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from compiler.errors import CheckpointError


def require_whole(path: Path) -> None:
    """Refuse a link that leads nowhere: a folder or file that a user names, or anything in the folder.

    Raises:
        CheckpointError: it names the link, and where it leads.
    """
    _require(path)
    if path.is_dir():
        for each in sorted(path.rglob("*")):
            if not any(part.startswith(".") for part in each.relative_to(path).parts):
                _require(each)


def _require(path: Path) -> None:
    if not path.is_symlink() or path.exists():
        return
    try:
        path.stat()
        reason = ""
    except OSError as error:
        reason = "links in a circle" if error.errno == errno.ELOOP else "nothing is there"
    raise CheckpointError(
        f"{path}: a link that leads nowhere",
        found=f"it links to {os.readlink(path)}: {reason}",
        expected="a file or folder, or a link to one",
        action="download or copy the checkpoint again; a hub cache keeps the content of its links in blobs/",
    )
