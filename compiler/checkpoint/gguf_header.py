"""A GGUF file's header, walked before a library reads it: counts and sizes that the file cannot have are refused.

The library goes through an array value by value, as many as the file says there are, whether they are there or not.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compiler.checkpoint.sane import WIDE
from compiler.errors import CheckpointError
from compiler.reading import MOST

SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes, by the number of a type
STRING, ARRAY = 8, 9
DIMS = 4  # ggml's GGML_MAX_DIMS
TOKENS = ("context_length", "sliding_window")  # how keys end whose numbers are no sizes of tensors
MOST_TOKENS = 2**31 - 1


def require_whole(path: Path) -> None:
    """Raises CheckpointError where a value, or the description of a tensor, is not in the file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < _Walk.BEGIN:
            raise damaged(path, f"{size} bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                _Walk(content).whole()
            except struct.error as error:
                raise damaged(path, f"{size} bytes, which end within the header") from error
            except ValueError as error:
                raise damaged(path, f"{size} bytes; {error}") from error


def require_plausible(path: Path, metadata: Mapping[str, Any], shapes: Sequence[Sequence[int]]) -> None:
    """Refuse keys that ask for far more or larger layers than the tensors have, before memory is taken for them.

    Args:
        metadata: the file's keys, with the whole content of lists.
        shapes: of all tensors.
    """
    layers = f"{metadata['general.architecture']}.block_count"
    if not isinstance(metadata.get(layers), int):  # transformers would go on with 32
        raise CheckpointError(
            f"{path}: no number of layers in this GGUF", found=f"{layers}: {metadata.get(layers)}"[:80]
        )
    largest = max((int(size) for shape in shapes for size in shape), default=0)
    for key, value in metadata.items():
        section, _, name = key.partition(".")
        if section != metadata["general.architecture"]:
            continue
        if name.endswith(TOKENS):
            limit = MOST_TOKENS
        else:
            limit = len(shapes) if name.endswith("block_count") else max(largest, WIDE)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int) and not -limit <= each <= limit:
                raise CheckpointError(
                    f"{path}: keys and tensors of this GGUF do not belong together",
                    found=f"{key} {each}",
                    expected=f"at most {limit}: there are {len(shapes)} tensors, the longest of {largest} rows",
                    action="download the file again and compare its checksum",
                )


def damaged(path: Path, found: str) -> CheckpointError:
    """The error for a file that is not whole, with what was found."""
    return CheckpointError(
        f"{path}: damaged or cut short",
        found=found,
        expected="a whole GGUF file",
        action="download the file again and compare its checksum",
    )


class _Walk:
    """Every step raises `struct.error` or ValueError where the content ends before it does."""

    BEGIN = 24  # bytes: magic, version, number of tensors, number of keys

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._at, self._left = content, 4, MOST
        (version,) = struct.unpack_from("<I", content, 4)
        self._order = ">" if version & 0xFFFF == 0 else "<"
        self._number("I")

    def whole(self) -> None:
        tensors, keys = self._number("Q"), self._number("Q")
        self._take(tensors + keys)
        for _ in range(keys):
            self._text()
            self._value(self._number("I"))
        for _ in range(tensors):
            self._text()
            if (dims := self._number("I")) > DIMS:
                raise ValueError(f"a tensor of {dims} dims")
            self._skip(8 * dims + 4 + 8)  # sizes, type, offset

    def _value(self, kind: int) -> None:
        if kind == STRING:
            self._text()
        elif kind == ARRAY:
            inner, count = self._number("I"), self._number("Q")
            self._take(count)
            if inner == STRING:
                for _ in range(count):
                    self._text()
            else:
                self._skip(count * self._size(inner))
        else:
            self._skip(self._size(kind))

    def _size(self, kind: int) -> int:
        if kind not in SCALARS:
            raise ValueError(f"a value of type {kind}")
        return SCALARS[kind]

    def _text(self) -> None:
        self._skip(self._number("Q"))

    def _number(self, kind: str) -> int:
        (found,) = struct.unpack_from(f"{self._order}{kind}", self._content, self._at)
        self._at += struct.calcsize(f"={kind}")
        return int(found)

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._content):
            raise ValueError(f"something ends at {self._at}")

    def _take(self, count: int) -> None:
        """So many values more."""
        self._left -= count
        if self._left < 0:
            raise ValueError(f"over {MOST} values")
