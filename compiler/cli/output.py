"""Results on stdout: one JSON object, or tables for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec


def emit(result: Any) -> None:
    """Print one JSON object; records become objects, paths strings."""
    plain = msgspec.to_builtins(result, enc_hook=str)
    click.echo(json.dumps(plain, indent=2, ensure_ascii=False))


def table(header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; numbers stand on the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    grid = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", show_header=any(header))
    for index, name in enumerate(header):
        numeric = bool(cells) and all(isinstance(row[index], (int, float)) for row in cells)
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(number(cell)) for cell in row))
    console = Console()
    # Piped output has no width to fold to: a narrow guess would break paths in the middle.
    console.print(grid, width=None if console.is_terminal else 200, no_wrap=False)


def number(value: object) -> str:
    """Four significant digits for floats, everything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def size(count: int) -> str:
    """Bytes for a person."""
    from rich.filesize import decimal

    return decimal(count)
