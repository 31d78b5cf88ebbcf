from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings

import pytest

from compiler.cli.progress import working
from compiler.progress import Event


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def events() -> list[Event]:
    return [
        Event("export", "task fill-mask"),
        Event("export", "tracing", done=1, total=2),
        Event("optimize", "int8 for this machine", cached=True),
    ]


def test_one_line_per_stage_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with working(verbose=False) as progress:
        for event in events():
            progress(event)
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"export +\d+\.\d s  task fill-mask", first)
    assert re.fullmatch(r"optimize +cached  int8 for this machine", second)


def test_a_failed_stage_says_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with contextlib.suppress(ValueError), working(verbose=False) as progress:
        for event in events()[:2]:
            progress(event)
        raise ValueError
    assert stream.getvalue().endswith("stopped: task fill-mask, tracing (1 of 2 done)\n")


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with working(verbose=False) as progress:
        for event in events():
            progress(event)
    text = stream.getvalue()
    last = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", text).rstrip().splitlines()[-2:]
    assert re.fullmatch(r"export .* \d:\d\d:\d\d task fill-mask", last[0].rstrip())
    assert re.fullmatch(r"optimize .* \d:\d\d:\d\d int8 for this machine \(cached\)", last[1].rstrip())


NOISE = """
import logging, os, subprocess, sys, warnings
from compiler.cli.progress import working
with working(verbose={verbose}):
    print("python")
    os.write(1, b"native\\n")
    subprocess.run(["echo", "child"], check=True)
    logging.getLogger("torch.onnx").warning("logged")
    warnings.warn("warned")
print("result")
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_only_the_result_reaches_stdout(verbose: bool) -> None:
    code = NOISE.format(verbose=verbose)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "result\n"
    for word in ("python", "native", "child", "logged", "warned"):
        assert (word in result.stderr) is verbose


def test_everything_is_put_back() -> None:
    before = (sys.stdout, os.fstat(1).st_ino, logging.root.manager.disable, list(warnings.filters))
    with working(verbose=False):
        assert sys.stdout is not before[0]
    assert (sys.stdout, os.fstat(1).st_ino, logging.root.manager.disable, list(warnings.filters)) == before


def test_a_long_stage_says_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.cli.progress.EVERY_SECONDS", 0.1)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with working(verbose=False) as progress:
        progress(Event("check", "engine against PyTorch"))
        time.sleep(0.25)
        progress(Event("check", "a text of 512 tokens", done=3, total=9))
        time.sleep(0.35)  # a step that is longer than the time between two lines
    *lines, last = stream.getvalue().splitlines()
    title = "engine against PyTorch"
    found = [re.fullmatch(r"check +\d+\.\d s  \.\.\. (.*)", line) for line in lines]
    said = [each[1] for each in found if each]
    assert len(said) == len(lines) >= 4
    assert (said[0], said[-1]) == (title, f"{title}, a text of 512 tokens (3 of 9 done)")
    assert re.fullmatch(rf"check +\d+\.\d s  {title}", last)


def test_nothing_is_added_to_short_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.cli.progress.EVERY_SECONDS", 0.5)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with working(verbose=False) as progress:
        for number in range(4):
            progress(Event(f"stage {number}", "short"))
            time.sleep(0.15)
    assert "..." not in stream.getvalue()


def test_a_closed_stream_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.cli.progress.EVERY_SECONDS", 0.02)
    before = threading.active_count()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(ValueError, match="closed file"), working(verbose=False) as progress:  # noqa: PT012
        progress(Event("check", "x"))
        stream.close()
        time.sleep(0.1)
    assert threading.active_count() == before
