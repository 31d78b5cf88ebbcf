"""Arguments that callers pass: taken when they are what they should be, otherwise an InputError that says what is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.errors import InputError

MOST = 2**31 - 1  # things that anything here is counted in
_SHOWN = 80  # characters of a text that an error shows


def as_text(value: Any, name: str) -> str:
    """The text; `name` is what the argument is called."""
    if not isinstance(value, str):
        raise InputError(f"{name} is a text", found=type(value).__name__, expected="a string")
    return value


def as_list(value: Any, name: str) -> list[str]:
    """The texts in a list of them."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(text, str) for text in value):
        raise InputError(f"{name} takes a list of texts", found=_stranger(value), expected="strings")
    return list(value)


def as_texts(value: Any, name: str) -> tuple[list[str], bool]:
    """The texts in a text or a list of them, and whether it was a single one."""
    return ([value], True) if isinstance(value, str) else (as_list(value, name), False)


def as_count(value: Any, name: str) -> int:
    """A whole number from 1 on, of at most 31 bits."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
        raise InputError(f"{name} is a number of things", found=shown(value), expected=f"1 or more, up to {MOST}")
    return value


def shown(text: object) -> str:
    """A text, or another argument, as an error shows it: quoted, and not all of a long one."""
    try:
        quoted = repr(text)
    except ValueError:  # a whole number of more digits than Python writes
        quoted = f"a very large {type(text).__name__}"
    return quoted if len(quoted) <= _SHOWN else f"{quoted[:_SHOWN]}..."


def _stranger(value: object) -> str:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return f"a single {type(value).__name__}"
    return next(f"{type(text).__name__} at {index}" for index, text in enumerate(value) if not isinstance(text, str))
