"""Numbers as text for a person: short, but never so short that a value seems to keep a limit that it breaks.

A limit is written as it was given. 15 significant digits come back unchanged from a float64, so what a person wrote has
at most as many; a limit that was computed has more, and is cut like any other number.
"""

from __future__ import annotations

from collections.abc import Sequence

LEAST, GIVEN, ALL = 4, 15, 17  # significant digits; 17 tell any two float64 apart


def exact(value: float) -> str:
    """A number as it was given; one that was computed, in four digits."""
    return _as_given(value) or f"{value:.{LEAST}g}"


def beside(value: float, limit: float, sign: str = "") -> tuple[str, str]:
    """A value and its limit, in as many digits as it takes to see which is larger, or that they are equal.

    Args:
        sign: "+" writes it in front of a positive value too.
    """
    (shown,), bound = all_beside([value], limit, sign)
    return shown, bound


def all_beside(values: Sequence[float], limit: float, sign: str = "") -> tuple[list[str], str]:
    """The same for several values and their one limit."""
    fixed, digits = _as_given(limit), LEAST
    while digits < ALL and not all(_told_apart(value, limit, digits, fixed) for value in values):
        digits += 1
    return [f"{value:{sign}.{digits}g}" for value in values], fixed or f"{limit:.{digits}g}"


def apart(one: float, other: float) -> tuple[str, str]:
    """Two that were measured, in as many digits as it takes to see which is larger, or that they are equal."""
    digits = LEAST
    while digits < ALL and not _told_apart(one, other, digits, ""):
        digits += 1
    return f"{one:.{digits}g}", f"{other:.{digits}g}"


def _told_apart(one: float, other: float, digits: int, fixed: str) -> bool:
    """Whether the order is kept where both have so many digits, and where the other is written as `fixed`."""
    texts = {f"{other:.{digits}g}", fixed or f"{other:.{digits}g}"}
    return all(_order(float(f"{one:.{digits}g}"), float(text)) == _order(one, other) for text in texts)


def _as_given(value: float) -> str:
    text = f"{value:.{GIVEN}g}"
    return text if float(text) == value else ""


def _order(one: float, other: float) -> int:
    return (one > other) - (one < other)
