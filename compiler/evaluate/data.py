"""Rows of a user's file: named columns, sampled, with a digest that identifies them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from compiler.errors import InputError
from compiler.reading import parse_strict, read_bytes, read_json

Row = dict[str, Any]
LARGEST = 128 << 20  # bytes of a file of rows
MOST = 2_000_000  # ends of lines and cells in it, so that its rows take less than 1 GB
LINES = (".jsonl", ".ndjson")
FORMATS = "a .jsonl or .csv file, or a folder that `datasets` saved"


def read(path: Path) -> list[Row]:
    """All rows of a file, or of a folder that `datasets` saved.

    Args:
        path: .jsonl (an object a line), .csv or .tsv (with a header), or a folder with .arrow files.

    Raises:
        InputError: the file is missing, empty, or not what its name says.
    """
    if not os.path.exists(path):  # nor is there one where no file system takes the name
        raise InputError(f"{path}: no such file", expected=FORMATS)
    if path.is_dir():
        rows = list(_arrow(path))
    elif path.suffix in LINES:
        rows = list(_lines(path))
    elif path.suffix in {".csv", ".tsv"}:
        rows = list(_table(path))
    else:
        raise InputError(f"{path}: an unknown kind of file", found=path.suffix or "no suffix", expected=FORMATS)
    if not rows:
        raise InputError(f"{path}: no rows", found="an empty file", expected="one row or more")
    return rows


class _File(msgspec.Struct):
    filename: str


class _State(msgspec.Struct):
    """What matters of state.json."""

    files: list[_File] = msgspec.field(name="_data_files")


def sample(rows: Sequence[Row], limit: int | None, seed: int) -> dict[int, Row]:
    """At most `limit` rows by their index, drawn without replacement and kept in the file's order."""
    drawn: Iterable[int] = range(len(rows))
    if limit is not None and limit < len(rows):
        drawn = sorted(random.Random(seed).sample(range(len(rows)), limit))
    return {index: rows[index] for index in drawn}


def digest(rows: Iterable[Any]) -> str:
    """SHA-256 of rows in their order; the order of their columns counts for nothing."""
    total = hashlib.sha256()
    for row in rows:
        total.update(msgspec.json.encode(row, order="sorted") + b"\n")
    return total.hexdigest()


def text_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank. Raises InputError when there are none."""
    lines = [line.strip("\r\n") for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: no lines", found="an empty file", expected="one entry a line")
    return lines


def _text(path: Path) -> str:
    try:
        text = read_bytes(path, InputError, largest=LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8", found=str(error), action="convert it to UTF-8") from error
    if sum(map(text.count, "\n\r,\t")) > MOST:
        raise InputError(f"{path}: too many rows and cells", expected=f"at most {MOST}", action="split the file")
    return text


def _lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        row = parse_strict(line, Any, InputError, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}", found=type(row).__name__, expected="an object with columns")
        yield row


def _table(path: Path) -> Iterator[Row]:
    """Cells are texts; one that is a JSON list, object or number is read as that by whoever needs it."""
    rows = csv.DictReader(io.StringIO(_text(path)), delimiter="\t" if path.suffix == ".tsv" else ",")
    try:
        for row in rows:
            if None in row or None in row.values():
                raise InputError(
                    f"{path}, line {rows.line_num}: not as many cells as the header has",
                    expected=f"{len(rows.fieldnames or ())} cells",
                )
            yield row
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: not CSV", found=str(error)) from error


def _arrow(folder: Path) -> Iterator[Row]:
    files = _arrow_files(folder)
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise InputError(
            f"{folder}: its .arrow files cannot be read here",
            found="pyarrow is not installed",
            action="pip install pyarrow, or save the data as .jsonl",
        ) from error
    for path in files:
        try:
            with arrow.memory_map(str(path)) as source:
                for batch in arrow.ipc.open_stream(source):
                    batch.validate(full=True)
                    yield from batch.to_pylist()
        except Exception as error:  # pyarrow has errors of its own, and hands on those of what it reads values with
            raise InputError(f"{path}: not a file that `datasets` saved", found=str(error)) from error


def _arrow_files(folder: Path) -> list[Path]:
    """The data files in their order: those that state.json lists."""
    state = folder / "state.json"
    if not state.exists():
        splits = sorted(path.parent.name for path in folder.glob("*/state.json"))
        raise InputError(
            f"{folder}: not a dataset that `datasets` saved",
            found=f"splits {', '.join(splits)}" if splits else "no state.json",
            expected=FORMATS,
            action=f"name a split: {folder / splits[0]}" if splits else "",
        )
    return [folder / Path(each.filename).name for each in read_json(state, _State, InputError).files]
