from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from compiler.cli import output
from compiler.errors import RegressionError
from compiler.records import FileEntry


def test_emit_is_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"path": Path("a/b"), "record": FileEntry(sha256="0", size=1), "nan": float("nan"), "text": "é"})
    text = capsys.readouterr().out
    assert "é" in text
    assert json.loads(text) == {"path": "a/b", "record": {"sha256": "0", "size": 1}, "nan": None, "text": "é"}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("error", [None, RegressionError("slower", found="a", expected="b", action="c")])
@pytest.mark.parametrize("value", [{"name": "x"}, FileEntry(sha256="0", size=1)])
def test_a_result_is_given_once_and_then_its_error(
    capsys: pytest.CaptureFixture[str], value: object, error: RegressionError | None, as_json: bool
) -> None:
    """A dict holds the error too; a record stays one that can be read back."""
    ended: BaseException | None = None
    try:
        output.finish(value, lambda: print("shown"), error, as_json=as_json)
    except (click.exceptions.Exit, RegressionError) as raised:
        ended = raised
    text = capsys.readouterr().out
    if not as_json:
        assert (text, ended) == ("shown\n", error)
        return
    assert ended is None if error is None else getattr(ended, "exit_code", 0) == 9
    plain = {"name": "x"} if isinstance(value, dict) else {"sha256": "0", "size": 1}
    found = json.loads(text)
    assert found.pop("error", {}).get("subject") == ("slower" if error and isinstance(value, dict) else None)
    assert found == plain


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
