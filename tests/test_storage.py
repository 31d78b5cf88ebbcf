from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from compiler.errors import CompilerError, EngineError, StorageError, UsageError
from compiler.storage import digest, locked, staging, write_result, write_whole

MARKER = "done.json"


def write(target: Path, content: str) -> None:
    with staging(target, MARKER) as folder:
        (folder / MARKER).write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with staging(target, MARKER) as folder:
        (folder / MARKER).write_text("1")
        assert not target.exists()
        assert folder.parent == target.parent
    assert names(target) == [MARKER]
    assert names(target.parent) == ["out"]


def test_others_may_read_it(tmp_path: Path) -> None:
    write(tmp_path / "out", "1")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_older_result_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out" / "leftover").write_text("")
    write(tmp_path / "out", "new")
    assert names(tmp_path / "out") == [MARKER]
    assert (tmp_path / "out" / MARKER).read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_writer_leaves_the_old_result_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(type(error)), staging(tmp_path / "out", MARKER) as folder:  # noqa: PT012
        (folder / MARKER).write_text("half")
        raise error
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / MARKER).read_text() == "old"


def test_a_folder_of_someone_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    for name in ("home", "file", "link"):
        with pytest.raises(UsageError, match="in the way"):
            write(tmp_path / name, "1")
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years"
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "1")
    assert names(tmp_path) == ["empty", "file", "home", "link"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.onnx.data"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError("2560 requested and 0 written"),
        RuntimeError("[Errno 28] No space left on device: while saving"),
    ],
)
def test_a_full_disk_is_named_with_the_free_space(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(StorageError, match=r"out\n.*bytes .*free in") as caught, staging(tmp_path / "out", MARKER):
        raise error
    assert caught.value.__cause__ is error
    assert names(tmp_path) == []


def test_a_full_disk_shows_through_a_wrapped_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError), staging(tmp_path / "out", MARKER):  # noqa: PT012
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise EngineError("cannot save") from error


def test_a_really_full_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageError), staging(tmp_path / "out", MARKER), open("/dev/full", "w") as full:
        full.write("x" * 100_000)


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/etc/shadow")
    with pytest.raises(PermissionError) as caught, staging(tmp_path / "out", MARKER):
        raise error
    assert caught.value is error


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write /proc/"):
        write(Path("/proc/self/out"), "1")


def _stop_halfway(target: Path) -> None:
    with staging(target, MARKER) as folder:
        (folder / "half").write_text("x")
        os._exit(9)


def test_leftovers_of_a_killed_process_are_swept_and_work_in_progress_is_not(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_stop_halfway, args=(tmp_path / "out",))
    process.start()
    process.join()
    assert len(names(tmp_path)) == 1
    with staging(tmp_path / "out", MARKER) as mine:
        assert names(tmp_path) == [mine.name]
        write(tmp_path / "out", "other")
        assert mine.is_dir()
        (mine / MARKER).write_text("mine")
    assert (tmp_path / "out" / MARKER).read_text() == "mine"
    assert names(tmp_path) == ["out"]


def _build_once(target: Path, log: Path) -> None:
    with locked(target):
        if target.exists():
            return
        time.sleep(0.05)
        write(target, "1")
        with log.open("a") as file:
            file.write("built\n")


def test_of_several_processes_one_builds_and_the_others_find_its_result(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=_build_once, args=(tmp_path / "cache" / "entry", tmp_path / "log")) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "log").read_text() == "built\n"
    assert names(tmp_path / "cache") == ["entry"]


def _publish_repeatedly(target: Path, content: str) -> None:
    for _ in range(20):
        write(target, content)


def test_unlocked_writers_of_one_folder_all_end_well(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_publish_repeatedly, args=(tmp_path / "out", str(index))) for index in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 3
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == [MARKER]


def test_a_lock_is_freed_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(CompilerError), locked(tmp_path / "entry"):
        raise CompilerError("x")
    with locked(tmp_path / "entry"):
        assert names(tmp_path) == [".entry.lock"]
    assert names(tmp_path) == []


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert digest(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(StorageError, match="nothing"):
        digest(tmp_path / "nothing")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "answer.txt"
    write_whole(path, b"one")
    assert path.read_bytes() == b"one"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_whole(path, b"two")
    assert path.read_bytes() == b"one"
    assert names(path.parent) == ["answer.txt"]


def test_a_file_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        write_whole(tmp_path / "file" / "below" / "answer.txt", b"one")


def test_a_result_goes_through_links_and_keeps_its_permissions(tmp_path: Path) -> None:
    place, link = tmp_path / "place.json", tmp_path / "link.json"
    place.write_bytes(b"old")
    place.chmod(0o600)
    link.symlink_to(place)
    write_result(link, b"new")
    assert link.is_symlink()
    assert place.read_bytes() == b"new"
    assert place.stat().st_mode & 0o777 == 0o600


def test_a_device_is_written_and_stays_one() -> None:
    write_result(Path("/dev/null"), b"nothing")
    assert Path("/dev/null").is_char_device()


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_result(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"result\.json"):
        write_result(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["result.json"]
