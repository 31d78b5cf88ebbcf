"""A worker process, seen from the measurement."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar, cast

import msgspec

from compiler.errors import EngineError
from compiler.measure.protocol import Loaded, Round, Samples, Spec, Usage

TIMEOUT_SECONDS = 600.0  # for one answer; loading a large model is the longest
TAIL_LINES = 12

R = TypeVar("R", bound=msgspec.Struct)


class Worker:
    """A context manager: the process ends with the block, whatever happens in it.

    Raises:
        EngineError: the worker died or did not answer in time; with the end of what it printed.
    """

    program = "compiler.measure.worker"

    def __init__(self, spec: Spec, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._spec = spec
        self._timeout_seconds = timeout_seconds

    def __enter__(self) -> Worker:
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
        )
        self._questions = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        try:
            self.loaded = self._ask(self._spec, Loaded)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, workload: str) -> Samples:
        """One round of a workload."""
        return self._ask(Round(workload=workload), Samples)

    def finish(self) -> Usage:
        """End the worker; the last question to it."""
        self._questions.close()
        return self._answer(Usage)

    def _ask(self, question: msgspec.Struct, kind: type[R]) -> R:
        with suppress(BrokenPipeError):  # it died; reading tells so, and why
            self._questions.write(msgspec.json.encode(question) + b"\n")
            self._questions.flush()
        return self._answer(kind)

    def _answer(self, kind: type[R]) -> R:
        timer = threading.Timer(self._timeout_seconds, self._process.kill)
        timer.start()
        try:
            line = self._answers.readline()
        finally:
            timer.cancel()
        if not line:
            raise self._died()
        return msgspec.json.decode(line, type=kind)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._questions.close()
        self._answers.close()
        self._log.close()

    def _died(self) -> EngineError:
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
        return EngineError(
            f"the measurement of {self._spec.runner} in {self._spec.folder} died",
            found="\n".join([f"exit status {code}", *tail]),
            expected=f"an answer within {self._timeout_seconds:g} s",
            action="free memory, or leave the measurement out",
        )


def _environment() -> dict[str, str]:
    """This environment, with this very package importable from wherever the process starts."""
    import compiler

    root = str(Path(next(iter(compiler.__path__))).parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
