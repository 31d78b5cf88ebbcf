from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import warnings

import pytest

from compiler.cli.progress import working
from compiler.pipeline import Event


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def events() -> list[Event]:
    return [
        Event("export", "tracing", done=1, total=2),
        Event("export", "traced 30 layers", done=2, total=2),
        Event("optimize", "reused", cached=True),
    ]


def test_one_line_per_stage_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with working(verbose=False) as progress:
        for event in events():
            progress(event)
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"export +\d+\.\d s  traced 30 layers", first)
    assert re.fullmatch(r"optimize +cached  reused", second)


def test_a_failed_stage_says_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with contextlib.suppress(ValueError), working(verbose=False) as progress:
        progress(events()[0])
        raise ValueError
    assert stream.getvalue().endswith("stopped: tracing\n")


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with working(verbose=False) as progress:
        for event in events():
            progress(event)
    text = stream.getvalue()
    assert "traced 30 layers" in text
    assert "reused (cached)" in text


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
