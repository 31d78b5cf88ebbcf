"""Weights that a session still reads from its file.

ONNX Runtime maps external weights into memory. Those it rearranges it copies, but tables that are looked up in stay
mapped: to write into the file would change answers of an open session, and to cut it short would end the process.
"""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

LARGEST = 256 << 20  # bytes; larger tables are rarely read whole, and stay in the file


def detach(folder: Path) -> None:
    """Let this process have copies of its own of all pages that it maps from files in `folder`, up to `LARGEST`.

    The mappings are private, so a page becomes the process' own when it is written to: here with what it holds.
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
            ranges.append(range(start, end, mmap.PAGESIZE))
    if sum(len(pages) for pages in ranges) * mmap.PAGESIZE > LARGEST:
        return
    for pages in ranges:
        for page in pages:
            byte = ctypes.c_ubyte.from_address(page)
            byte.value = byte.value
