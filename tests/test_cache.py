"""The stage cache: what makes a result old, and that two builders make it once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from compiler import cache
from compiler.records import FileEntry


def make(out: Path, calls: list[Path]) -> FileEntry:
    calls.append(out)
    time.sleep(0.05)
    (out / "big.bin").write_bytes(b"x" * 10)
    return FileEntry(sha256="0", size=10)


def test_the_second_time_comes_from_the_cache(tmp_path: Path) -> None:
    calls: list[Path] = []
    told: list[bool] = []
    for _ in range(2):
        record = cache.stage(tmp_path / "k", "r.json", FileEntry, lambda out: make(out, calls), told.append)
        assert record == FileEntry(sha256="0", size=10)
    assert told == [False, True]
    assert len(calls) == 1
    assert (tmp_path / "k" / "big.bin").read_bytes() == b"x" * 10


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(out: Path) -> FileEntry:
        (out / "half").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.stage(tmp_path / "k", "r.json", FileEntry, fail, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_two_builders_make_it_once(tmp_path: Path) -> None:
    calls: list[Path] = []
    told: list[bool] = []

    def run() -> None:
        cache.stage(tmp_path / "k", "r.json", FileEntry, lambda out: make(out, calls), told.append)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert sorted(told) == [False, True, True, True]


def test_a_key_holds_inputs_code_and_versions() -> None:
    base = cache.key("a", 1, code=("errors.py",), packages=("numpy",))
    assert base == cache.key("a", 1, code=("errors.py",), packages=("numpy",))
    others = [
        cache.key("a", 2, code=("errors.py",), packages=("numpy",)),
        cache.key("a", 1, code=("tasks.py",), packages=("numpy",)),
        cache.key("a", 1, code=("errors.py",), packages=("click",)),
        cache.key("a", 1, code=("export",), packages=("numpy",)),
    ]
    assert len({base, *others}) == 5


def test_a_touched_folder_has_another_key(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = cache.folder_key(tmp_path)
    (tmp_path / "a").write_text("2")
    assert cache.folder_key(tmp_path) != before


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TRANSFORMER_COMPILER_CACHE", raising=False)
    assert cache.cache_folder() == tmp_path / "transformer-compiler"
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "mine"))
    assert cache.cache_folder() == tmp_path / "mine"
