"""Results on stdout: one JSON object, or tables for a person."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
import msgspec

from compiler.cli.failure import describe
from compiler.errors import CompilerError

UNFOLDED = 10_000
NOTHING = "-"  # a cell without a value
_NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?(e[-+]\d+)?|[-+]?inf|nan")


def emit(result: Any) -> None:
    """Print one JSON object; records become objects, paths strings, NaN and infinity null."""
    encoded = msgspec.json.encode(result, enc_hook=str)
    click.echo(msgspec.json.format(encoded, indent=2).decode())


def finish(value: Any, show: Callable[[], None], error: CompilerError | None, *, as_json: bool) -> None:
    """Give a command's result; one that is no success has an `error`, with which the command ends.

    Args:
        value: for `--json`; the error goes into it where it is a dict. A record stays one that can be read back.
        show: gives the result to a person, to whom the error is reported after it.
        error: what the result comes to.
        as_json: whether `--json` was given.

    Raises:
        CompilerError: `error`, where it was not printed.
        click.exceptions.Exit: with its exit code, where it was.
    """
    if not as_json:
        show()
        if error:
            raise error
        return
    emit({**value, "error": describe(error)._asdict()} if error and isinstance(value, dict) else value)
    if error:
        raise click.exceptions.Exit(error.exit_code)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; numbers stand on the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    heading = Text(title, style="bold") if title else None
    grid = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", show_header=any(header))
    for index, name in enumerate(header):
        numbers = [_is_number(row[index]) for row in cells if row[index] != NOTHING]
        grid.add_column(name, justify="right" if numbers and all(numbers) else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(number(cell)) for cell in row))
    # Nothing to fold for in a pipe: a path must stay in one piece.
    width = None if sys.stdout.isatty() else UNFOLDED
    Console(width=width).print(grid)


def number(value: object) -> str:
    """Four significant digits for floats, everything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(cell: object) -> bool:
    """Whether it is one, or the text of one."""
    return isinstance(cell, (int, float)) or (isinstance(cell, str) and bool(_NUMBER.fullmatch(cell)))


def size(count: int) -> str:
    """Bytes for a person."""
    from rich.filesize import decimal

    return decimal(count)
