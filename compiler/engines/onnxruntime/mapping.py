"""Weights that a session still reads from its file.

ONNX Runtime maps external weights into memory. Those it rearranges it copies, but tables that are looked up in stay
mapped: to write into the file would change answers of an open session, and to cut it short would end the process.
"""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

LARGEST = 256 << 20  # bytes; larger tables are rarely read whole, and stay in the file
FIXED = 0x10  # MAP_FIXED of mmap(2), which `mmap` lacks


def detach(folder: Path) -> None:
    """Put memory of this process' own in place of all that it maps from files in `folder`, up to `LARGEST`.

    Copies of the pages alone would not do: cutting the file short takes private pages away too.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists():  # not Linux
        return
    place = f"{folder.resolve()}/"
    ranges = []
    for line in maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        addresses, rights, *_, path = line.split(maxsplit=5)
        if rights == "rw-p" and path.startswith(place):
            start, end = (int(address, 16) for address in addresses.split("-"))
            ranges.append((start, end - start))
    if sum(size for _, size in ranges) > LARGEST:
        return
    for start, size in ranges:
        _own(start, size)


def _own(start: int, size: int) -> None:
    """Exchange a mapping for anonymous memory that holds the same; what cannot be exchanged stays as it is."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    content = ctypes.string_at(start, size)
    rights, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | FIXED
    if library.mmap(start, size, rights, flags, -1, 0) == start:
        ctypes.memmove(start, content, size)
