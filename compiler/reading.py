"""Untrusted JSON and TOML: every way in which such a file can be broken is one error of the caller's kind.

JSON is what Python's own reader takes, as transformers reads it: NaN and Infinity are numbers, and of two equal keys
the last counts.
"""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compiler.errors import CompilerError

T = TypeVar("T")

LARGEST = 64 << 20  # bytes; the largest tokenizer.json in use has 34 MB
DEEPEST = 100  # levels of nesting, so that no later copy of it runs out of stack


def read_json(path: Path, kind: type[T], raises: type[CompilerError], *, largest: int = LARGEST) -> T:
    """What a JSON file holds.

    Args:
        path: a regular file, or a link to one.
        kind: what it must hold, as `msgspec.convert` understands types: `dict[str, Any]`, a Struct, ...
        raises: the error for a file that cannot be read, is too large, or is not JSON of this kind.
        largest: bytes that it may have.
    """
    return parse_json(read_bytes(path, raises, largest=largest), kind, raises, str(path))


def parse_json(content: bytes | str, kind: type[T], raises: type[CompilerError], name: str) -> T:
    """What JSON text holds; `name` says in an error where it came from. The rest as in `read_json`."""
    try:
        found = json.loads(content)
        if _deeper(found, DEEPEST):
            raise raises(f"{name}: nested too deep", found=f"over {DEEPEST} levels", expected=f"at most {DEEPEST}")
        return msgspec.convert(found, type=kind)
    except RecursionError as error:
        raise raises(f"{name}: nested too deep", found=str(error), expected=f"at most {DEEPEST} levels") from error
    except ValueError as error:  # malformed, not Unicode, not of this kind
        raise raises(f"{name}: not the JSON that belongs here", found=str(error)) from error


def read_toml(path: Path, raises: type[CompilerError]) -> dict[str, Any]:
    """What a TOML file holds. `raises` as in `read_json`."""
    content = read_bytes(path, raises)
    try:
        return tomllib.loads(content.decode())
    except RecursionError as error:
        raise raises(f"{path}: nested too deep", found=str(error)) from error
    except ValueError as error:  # tomllib.TOMLDecodeError, UnicodeDecodeError
        raise raises(f"{path}: not TOML", found=str(error)) from error


def read_bytes(path: Path, raises: type[CompilerError], *, largest: int = LARGEST) -> bytes:
    """A file's content. `raises` and `largest` as in `read_json`."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise raises(f"{path}: not a file", expected="a regular file")
        if found.st_size > largest:
            raise raises(f"{path}: too large", found=f"{found.st_size} bytes", expected=f"at most {largest} bytes")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise raises(f"{path}: cannot be read", found=getattr(error, "strerror", None) or str(error)) from error


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper than so many levels."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)
