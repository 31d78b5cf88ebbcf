"""The property can fail: a foreign exception, another exit code, a hang and a panic are all noticed."""

from __future__ import annotations

import io
import json
import os
import signal
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compiler.errors import InputError, IntegrityError
from tests.fuzz import reader as reading
from tests.fuzz import run
from tests.fuzz.mutate import VALUES, Cases, json_files, toml_files, zip_files
from tests.fuzz.reader import Endless, Reader

KILLS = 3
READERS: tuple[Reader, ...] = ()
deadly = Reader(
    "deadly",
    frozenset(),
    lambda dice: dice.below(10),
    lambda _: lambda case: os.kill(os.getpid(), signal.SIGKILL) if case == KILLS else None,
)


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
    Reader("x", frozenset({2}), json_files(b"{}"), lambda _: fails(InputError("x")), suite=50).check()


def test_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 0.05)
    reader = Reader("x", frozenset({2}), json_files(b"{}"), lambda _: lambda _: time.sleep(1))
    with pytest.raises(Endless):
        reader.judge(lambda _: time.sleep(1), b"")


def test_every_hostile_value_gets_in() -> None:
    """Of each type one, in place of a value, in JSON and in TOML."""
    for kind in {type(value) for value in VALUES} - {type(None)}:
        assert any(_holds(json.loads, case, kind) for case in drawn(json_files(b'{"a": "x"}')))
        assert any(_holds(_parse_toml, case, kind) for case in drawn(toml_files(b'a = "x"')))


def test_archives_stay_archives_sometimes() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.npy", b"0123456789")
    cases = drawn(zip_files(content.getvalue()))
    assert any(b"../x" in case and zipfile.is_zipfile(io.BytesIO(case)) for case in cases)


def test_a_case_can_be_made_again() -> None:
    reader = Reader("x", frozenset({2}), json_files(b'{"a": ["x", 1]}'), lambda _: bytes)
    first = [reader.case(3, number) for number in range(50)]
    assert first == [reader.case(3, number) for number in range(50)]
    assert len(set(first)) > 10
    assert first != [reader.case(4, number) for number in range(50)]


def test_a_run_counts_what_it_finds_and_goes_on() -> None:
    """In a process of its own, which a case kills: the next one begins after it."""
    found = run.found(__name__, "deadly", 0, 40)
    assert found.cases == 40
    assert found.foreign == sum(deadly.case(0, number) == KILLS for number in range(40)) > 0
    assert any("case " in each and "died" in each for each in found.shown)


def drawn(cases: Cases) -> Iterator[Any]:
    reader = Reader("x", frozenset(), cases, lambda _: bytes)
    return (reader.case(0, number) for number in range(20_000))


def _parse_toml(content: bytes) -> Any:
    return tomllib.loads(content.decode())


def _holds(parse: Callable[[Any], Any], case: Any, kind: type) -> bool:
    try:
        found = parse(case)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and type(found.get("a")) is kind
