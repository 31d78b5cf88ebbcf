"""Numbers as text for a person: short, but never so short that a value seems to keep a limit that it breaks.

A limit is written as it was given. 15 significant digits come back unchanged from a float64, so what a person wrote has
at most as many; a limit that was computed has more, and is cut like any other number.
"""

from __future__ import annotations

LEAST, GIVEN, ALL = 4, 15, 17  # significant digits; 17 tell any two float64 apart


def exact(value: float) -> str:
    """A number as it was given; one that was computed, in four digits."""
    return _as_given(value) or f"{value:.{LEAST}g}"


def beside(value: float, limit: float, sign: str = "") -> tuple[str, str]:
    """A value and its limit, in as many digits as it takes to see which is larger, or that they are equal.

    Args:
        sign: "+" writes it in front of a positive value too.
    """
    return _apart(value, limit, _as_given(limit), sign)


def apart(one: float, other: float) -> tuple[str, str]:
    """The same for two that were measured."""
    return _apart(one, other, "", "")


def _apart(one: float, other: float, fixed: str, sign: str) -> tuple[str, str]:
    order, digits = _order(one, other), LEAST
    while digits < ALL and any(
        _order(float(f"{one:.{digits}g}"), float(text)) != order
        for text in (f"{other:.{digits}g}", fixed or f"{other:.{digits}g}")
    ):
        digits += 1
    return f"{one:{sign}.{digits}g}", fixed or f"{other:.{digits}g}"


def _as_given(value: float) -> str:
    text = f"{value:.{GIVEN}g}"
    return text if float(text) == value else ""


def _order(one: float, other: float) -> int:
    return (one > other) - (one < other)
