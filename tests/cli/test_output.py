from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.cli import output
from compiler.records import FileEntry


def test_emit_is_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"path": Path("a/b"), "record": FileEntry(sha256="0", size=1), "nan": float("nan"), "text": "é"})
    text = capsys.readouterr().out
    assert "é" in text
    assert json.loads(text) == {"path": "a/b", "record": {"sha256": "0", "size": 1}, "nan": None, "text": "é"}


def test_a_piped_table_keeps_long_cells_whole_and_markup_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/folder" * 60
    output.table(("name", "value"), [(long, 0.123456), ("[red]x[/red]", 2)], title="[bold]title[/bold]")
    lines = capsys.readouterr().out.splitlines()
    assert any(long in line and "0.1235" in line for line in lines)
    assert any("[red]x[/red]" in line for line in lines)
    assert "[bold]title[/bold]" in lines[0]


def test_numbers_and_their_texts_stand_on_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("a", "b", "c"), [("0.9994015", "x", 12), ("-", "1", 3), ("+1.2e-05", "y", "1,234")])
    rows = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "0.9994015   x      12" in rows
    assert "-   1       3" in rows
    assert "+1.2e-05   y   1,234" in rows


def test_a_table_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name",), [])
    assert "name" in capsys.readouterr().out


def test_size() -> None:
    assert [output.size(count) for count in (999, 1500, 2_000_000)] == ["999 bytes", "1.5 kB", "2.0 MB"]
