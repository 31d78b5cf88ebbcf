"""Files that others wrote: read whole, or refused as one kind of error."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from compiler.errors import CheckpointError, CompilerError, InputError, IntegrityError, ProfileError
from compiler.reading import DEEPEST, parse_json, parse_strict, read_bytes, read_json, read_toml

BROKEN = {
    "cut short": b'{"a": [1, 2',
    "not Unicode": b'{"a": "\xff\xfe"}',
    "half a character": b'{"a": "\\ud800"}',
    "half a character as bytes": b'{"a": "\xed\xa0\x80"}',
    "another kind": b"[1, 2]",
    "empty": b"",
    "deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deeper than later copies bear": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "an endless number": b'{"a": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_json_is_the_callers_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_json(path, dict[str, Any], CheckpointError)


@pytest.mark.parametrize("name", ["cut short", "another kind", "empty"])
@pytest.mark.parametrize(
    ("raises", "action"), [(CheckpointError, "download"), (IntegrityError, "rebuild"), (InputError, "name another")]
)
def test_broken_json_says_what_to_do(name: str, raises: type[CompilerError], action: str) -> None:
    for parse in (parse_json, parse_strict):
        with pytest.raises(raises) as caught:
            parse(BROKEN[name], dict[str, Any], raises, "file")
        assert action in caught.value.action
        assert caught.value.expected == ("" if name == "another kind" else "JSON")
        assert caught.value.found
    with pytest.raises(raises) as caught:
        parse_strict(BROKEN[name], dict[str, Any], raises, "file", expected="ratings")
    assert caught.value.expected == "ratings"


def test_json_as_transformers_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"limit": Infinity, "twice": 1, "twice": 2}')
    found = read_json(path, dict[str, Any], CheckpointError)
    assert math.isinf(found["limit"])
    assert found["twice"] == 2


def test_as_deep_as_allowed() -> None:
    assert parse_json("[" * DEEPEST + "]" * DEEPEST, list[Any], CheckpointError, "text")
    with pytest.raises(CheckpointError, match="nested"):
        parse_json("[" * (DEEPEST + 3) + "1" + "]" * (DEEPEST + 3), list[Any], CheckpointError, "text")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    (tmp_path / "large").write_bytes(b"12345")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none", Path("zero\0byte")):
        with pytest.raises(CheckpointError):
            read_bytes(path, CheckpointError)
    with pytest.raises(CheckpointError, match="at most 4 bytes"):
        read_bytes(tmp_path / "large", CheckpointError, largest=4)


@pytest.mark.parametrize("content", [b"a = ", b"a = '\xff'", b"a = " + b"[" * 100_000])
def test_broken_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "profile.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=r"profile\.toml"):
        read_toml(path, ProfileError)


def test_strict_json_is_that_of_the_standard() -> None:
    assert parse_strict(b'{"a": 1}', dict[str, int], CheckpointError, "text") == {"a": 1}
    for content in (b'{"a": 1' + b"0" * 30 + b"}", b'{"a": NaN}', b'{"a": "x"}', b"[" * 5000, b'{"a": "\\ud800"}'):
        with pytest.raises(CheckpointError):
            parse_strict(content, dict[str, int], CheckpointError, "text")
