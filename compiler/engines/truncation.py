"""What every generation asks before it forgets the end of its text."""

from __future__ import annotations

from compiler.errors import InputError


def require_truncatable(batch: int, length: int, held: int) -> None:
    """Raise InputError unless a single row is to keep at most as many tokens as it has.

    Args:
        batch: rows of the generation.
        length: tokens to keep.
        held: tokens that the first row has.
    """
    if batch != 1:
        raise InputError("only a single row can be truncated", found=f"{batch} rows", expected="1")
    if not 0 <= length <= held:
        raise InputError("truncate", found=str(length), expected=f"0 to {held}, what is held")
