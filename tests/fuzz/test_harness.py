"""The property can fail: a foreign exception, another exit code, a hang and a panic are all noticed."""

from __future__ import annotations

import io
import json
import time
import tomllib
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import find

from compiler.errors import InputError, IntegrityError
from tests.fuzz import reader as reading
from tests.fuzz.mutate import VALUES, json_files, toml_files, zip_files
from tests.fuzz.reader import Endless, Reader, drawn

READERS: tuple[Reader, ...] = ()


class Panic(BaseException):
    """As pyo3's."""


def fails(error: BaseException) -> Callable[[Any], object]:
    def read(_: Any) -> object:
        raise error

    return read


@pytest.mark.parametrize("error", [KeyError("x"), IntegrityError("x"), Panic("x"), MemoryError()], ids=repr)
def test_what_must_not_come_out(error: BaseException) -> None:
    reader = Reader("x", frozenset({2}), json_files(b"{}"), lambda _: fails(error))
    with pytest.raises(AssertionError if isinstance(error, IntegrityError) else type(error)):
        reader.check()


def test_what_may_come_out() -> None:
    Reader("x", frozenset({2}), json_files(b"{}"), lambda _: fails(InputError("x"))).check()


def test_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 0.05)
    reader = Reader("x", frozenset({2}), json_files(b"{}"), lambda _: lambda _: time.sleep(1))
    with pytest.raises(Endless):
        reader.judge(lambda _: time.sleep(1), b"")


def test_every_hostile_value_gets_in() -> None:
    """Of each type one, in place of a value, in JSON and in TOML."""
    for kind in {type(value) for value in VALUES} - {type(None)}:
        assert find(drawn(json_files(b'{"a": "x"}')), lambda case, kind=kind: _holds(json.loads, case, kind))
        assert find(drawn(toml_files(b'a = "x"')), lambda case, kind=kind: _holds(_parse_toml, case, kind))


def test_archives_stay_archives_sometimes() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.npy", b"0123456789")
    assert find(
        drawn(zip_files(content.getvalue())), lambda case: b"../x" in case and zipfile.is_zipfile(io.BytesIO(case))
    )


def _parse_toml(content: bytes) -> Any:
    return tomllib.loads(content.decode())


def _holds(parse: Callable[[Any], Any], case: Any, kind: type) -> bool:
    try:
        found = parse(case)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and type(found.get("a")) is kind
