"""Where the cache is, and what is said where it cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from compiler.errors import StorageError
from compiler.storage import advice, cache_folder, require_cache, staging, trouble

VARIABLE = "TRANSFORMER_COMPILER_CACHE"
ACTIONS = {
    errno.EACCES: "give yourself the right to write there",
    errno.EPERM: "give yourself the right to write there",
    errno.EROFS: "mount that file system for writing",
    errno.ENOTDIR: "move the file that stands where a folder has to be",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on a file's size",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    assert cache_folder() == tmp_path / "transformer-compiler"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv(VARIABLE, "~nobody-of-this-name/cache")
    with pytest.raises(StorageError, match="no place for the cache"):
        cache_folder()


def test_a_cache_that_can_be_made_is_tried_and_left_as_it_is(cache: Path) -> None:
    require_cache()
    assert list(cache.parent.iterdir()) == []


@pytest.mark.parametrize("below", ["", "below", "far/below"])
def test_a_file_in_the_place_of_the_cache(below: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.touch()
    monkeypatch.setenv(VARIABLE, str(cache / below))
    with pytest.raises(StorageError, match="the cache cannot be used") as caught:
        require_cache()
    assert caught.value.found == f"Not a directory: {cache}"
    assert caught.value.action == f"{ACTIONS[errno.ENOTDIR]}, or set {VARIABLE} to another folder"


@pytest.mark.parametrize("number", ACTIONS)
def test_each_reason_has_its_own_advice(number: int, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", fails)
    with pytest.raises(StorageError, match="the cache cannot be used") as caught:
        require_cache()
    assert caught.value.found == f"{os.strerror(number)}: {cache.parent}"
    assert caught.value.action.startswith(ACTIONS[number])
    assert caught.value.action.endswith(f", or set {VARIABLE} to another folder")
    assert sum(word in caught.value.action for word in set(ACTIONS.values())) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_the_advice_names_the_variable_within_the_cache_only(number: int, cache: Path, tmp_path: Path) -> None:
    for target, last in (
        (cache / "export" / "key", f"set {VARIABLE} to another folder"),
        (tmp_path / "out", "choose another folder"),
    ):
        with pytest.raises(StorageError) as caught, staging(target, "marker"):
            raise OSError(number, os.strerror(number))
        assert caught.value.action == f"{advice(number, target)}; nothing was left behind"
        assert caught.value.action.startswith(ACTIONS[number])
        assert last in caught.value.action
        assert "bytes" in caught.value.found


def test_a_place_where_nothing_can_be_made_has_another_reason_than_space(cache: Path) -> None:
    cache.touch()
    with pytest.raises(StorageError) as caught, staging(cache / "export" / "key", "marker"):
        pass
    assert caught.value.found == f"Not a directory: {cache}"
    assert "space" not in caught.value.action


def test_a_folder_of_the_kernel_cannot_be_written() -> None:
    assert trouble(Path("/proc/self/cache")) is not None
