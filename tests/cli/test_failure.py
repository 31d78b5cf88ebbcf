from __future__ import annotations

import errno
import inspect
import signal
import subprocess
import sys

import click
import pytest

from compiler import errors
from compiler.cli import failure

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.CompilerError)]


def report(error: BaseException, *words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        failure.exit_with(error, words)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def raised() -> KeyError:
    """An error with a traceback."""
    try:
        return {}["x"]
    except KeyError as error:
        return error


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_its_exit_code_and_parts(kind: type[errors.CompilerError], capsys) -> None:
    error = kind("model.onnx", found="a", expected="b", action="c")
    assert report(error) == kind.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    words = [line.split(maxsplit=1) for line in captured.err.splitlines()]
    assert words == [["error:", "model.onnx"], ["found:", "a"], ["expected:", "b"], ["do:", "c"]]


def test_an_unexpected_error_is_short_unless_verbose(capsys) -> None:
    assert report(KeyError("x")) == 1
    brief = capsys.readouterr().err
    assert "rerun with --verbose" in brief
    assert "KeyError" in brief
    assert "Traceback" not in brief
    assert report(raised(), "--verbose") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(error: BaseException, capsys) -> None:
    assert report(error) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_full_disk_is_found_among_the_causes() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/x/y")
    outer = errors.PassError("a pass failed")
    outer.__cause__ = full
    for error in (full, outer, RuntimeError("write failed: No space left on device")):
        described = failure.describe(error)
        assert (described.kind, described.exit_code) == ("StorageError", 12)
    assert failure.describe(full).subject.startswith("/x/y")
    assert failure.describe(full).action.startswith("free some space, or choose another folder")
    read_only = failure.describe(OSError(errno.EROFS, "Read-only file system", "/x/y"))
    assert read_only.action.startswith("mount that file system for writing, or choose another folder")
    assert failure.describe(OSError(errno.ENOENT, "gone")).exit_code == 1


def test_json_after_the_end_of_options_is_text(capsys) -> None:
    assert report(errors.UsageError("x"), "run", "--", "--json") == 2
    assert capsys.readouterr().out == ""


def test_sigterm_unwinds_like_an_interrupt() -> None:
    code = (
        "import sys, time\nfrom compiler import profile\nfrom compiler.cli import main\n"
        "def wait():\n"
        "    try:\n        print('ready', file=sys.stderr, flush=True)\n        time.sleep(30)\n"
        "    finally:\n        print('cleaned', file=sys.stderr)\n"
        "profile.detect = wait\nmain(['profiles', 'detect', '--json'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "cleaned" in err
    assert '"Interrupted"' in out
