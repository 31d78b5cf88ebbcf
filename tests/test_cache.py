"""The stage cache: what makes a result old, and that two builders make it once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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
        record = cache.artifact(tmp_path / "k", "r.json", FileEntry, lambda out: make(out, calls), told.append)
        assert record.record == FileEntry(sha256="0", size=10)
    assert told == [False, True]
    assert len(calls) == 1
    assert (tmp_path / "k" / "big.bin").read_bytes() == b"x" * 10


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(out: Path) -> FileEntry:
        (out / "half").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.artifact(tmp_path / "k", "r.json", FileEntry, fail, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_two_builders_make_it_once(tmp_path: Path) -> None:
    calls: list[Path] = []
    told: list[bool] = []

    def run() -> None:
        cache.artifact(tmp_path / "k", "r.json", FileEntry, lambda out: make(out, calls), told.append)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert sorted(told) == [False, True, True, True]


def test_a_key_holds_inputs_and_code() -> None:
    base = cache.key("a", 1, code=["compiler.errors"])
    assert base == cache.key("a", 1, code=["compiler.errors"])
    others = [
        cache.key("a", 2, code=["compiler.errors"]),
        cache.key("a", 1, code=["compiler.tasks"]),
        cache.key("a", 1, code=[]),
    ]
    assert len({base, *others}) == 4


def test_a_touched_folder_has_another_key(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = cache.folder_key(tmp_path)
    (tmp_path / "a").write_text("2")
    assert cache.folder_key(tmp_path) != before


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00[")


@pytest.mark.parametrize("damage", [flip, garbage, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["big.bin", "r.json", cache.INDEX])
def test_a_damaged_entry_is_made_again_and_said(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    calls: list[Path] = []
    said: list[str] = []

    def run() -> cache.Artifact[FileEntry]:
        with cache.telling(said.append):
            return cache.artifact(tmp_path / "k", "r.json", FileEntry, lambda out: make(out, calls), lambda _: None)

    right = run()
    damage(tmp_path / "k" / name)
    assert run() == right
    assert (tmp_path / "k" / "big.bin").read_bytes() == b"x" * 10
    assert len(calls) == 2
    assert len(said) == 1
    assert "damaged" in said[0]
    assert "made again" in said[0]
    run()
    assert (len(calls), len(said)) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_what_was_added_or_put_in_the_way_is_damage(tmp_path: Path) -> None:
    calls: list[Path] = []
    for disturb in (
        lambda folder: (folder / "more").write_text("x"),
        lambda folder: (folder / "link").symlink_to("big.bin"),
        lambda folder: (folder / "r.json").rename(folder.parent / "moved"),
        lambda folder: [folder.rename(folder.parent / "gone"), folder.write_text("a file")],
    ):
        cache.artifact(tmp_path / "k", "r.json", FileEntry, lambda out: make(out, calls), lambda _: None)
        disturb(tmp_path / "k")
        before = len(calls)
        cache.artifact(tmp_path / "k", "r.json", FileEntry, lambda out: make(out, calls), lambda _: None)
        assert len(calls) == before + 1


@pytest.mark.parametrize("content", [b"", b"word", b"\xff", b"word\nword"])
def test_an_answer_that_is_damaged_is_asked_for_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "deep" / "answer.txt"
    assert cache.answer(path, lambda: "word") == cache.answer(path, lambda: "other") == "word"
    path.write_bytes(content)
    assert cache.answer(path, lambda: "again") == cache.answer(path, lambda: "other") == "again"
