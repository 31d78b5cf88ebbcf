"""The digest of a checkpoint: of all that is read of it, through links too, and again once it was read.

Results are kept under this digest, so a file that is read and not in it would let an old result pass for a new one.
Names that begin with a dot are not in it, and no reader takes a file of such a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from compiler import storage
from compiler.errors import CheckpointError, StorageError

UNREAD = frozenset({
    ".md", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".py", ".ipynb", ".sh", ".csv", ".parquet", ".log", ".lock",
    ".h5", ".msgpack", ".ot", ".onnx", ".onnx_data", ".tflite", ".mlmodel", ".gguf", ".npz", ".arrow",
})  # fmt: skip


def content(place: Path) -> str:
    """SHA-256, in hex, of a file, or of every file of a folder that may be read.

    Left out are documents, code, other frameworks' weights and hidden files. A folder that is linked to counts as if
    it were there.
    """
    if place.is_file():
        return storage.digest(place)
    total = hashlib.sha256()
    for path, same in _walk(place):
        if same is not None:
            total.update(f"{path.relative_to(place)}\0as {same.relative_to(place)}".encode())
        elif path.suffix not in UNREAD:
            total.update(str(path.relative_to(place)).encode() + b"\0" + storage.digest(path).encode())
    return total.hexdigest()


def require_unchanged(place: Path, digest: str, name: str) -> None:
    """Refuse what was written to while it was read: nobody knows what was made of it.

    Args:
        place: a file or folder whose `content` was `digest`.
        name: the checkpoint as its user named it.

    Raises:
        CheckpointError: it is something else now.
    """
    try:
        now = content(place)
    except (OSError, StorageError) as error:
        now = str(error)
    if now != digest:
        raise CheckpointError(
            f"{name}: the checkpoint changed while it was read",
            found=f"digest {now[:16]}..." if len(now) == len(digest) else now[:80],
            expected=f"digest {digest[:16]}..., as when the build began",
            action="build again once nothing writes to it, or from a copy",
        )


def _walk(top: Path) -> Iterator[tuple[Path, Path | None]]:
    """Files below a folder, and folders that were there before under another name, with that name."""
    known = {top.resolve(): top}
    left = [top]
    while left:
        for path in sorted(left.pop().iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if (before := known.get(path.resolve())) is not None:
                    yield path, before
                else:
                    known[path.resolve()] = path
                    left.append(path)
            elif path.is_file():
                yield path, None
