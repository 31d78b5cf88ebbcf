"""Work in a process of its own: one record a line, as JSON, and an answer to each question.

caller                       process
a question      ──────▶      does the work
                ◀──────      Step, any number of times; then the answer, or Failed
end of input    ──────▶
                ◀──────      Usage, then it exits
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

import msgspec

from compiler import errors
from compiler.errors import CompilerError, EngineError
from compiler.progress import Report, unreported
from compiler.records import Record

TAIL_LINES = 12  # of what a process printed before it died

R = TypeVar("R", bound=msgspec.Struct)


class Step(Record, frozen=True):
    """Progress: `done` of `total` steps of a phase."""

    message: str
    done: int
    total: int


class Failed(Record, frozen=True):
    """An error of `compiler.errors`, by the name of its class."""

    kind: str
    subject: str
    found: str
    expected: str
    action: str


class Usage(Record, frozen=True):
    """The most memory that the process ever held (resident)."""

    peak_memory_bytes: int


class Line(Record, frozen=True, omit_defaults=True):
    """What a process says: one of these."""

    step: Step | None = None
    failed: Failed | None = None
    answer: msgspec.Raw = msgspec.Raw()


class Process:
    """A context manager: the process ends with the block, whatever happens in it.

    Args:
        program: the module that it runs, which calls `serve`.
        subject: of the error where it dies.
        action: what to do then.
        timeout_seconds: for one answer; None waits for ever.
        folder: that it works in; None is this one.
        environment: variables beside those of this process.
        start: what stands between the interpreter and the module's name.
    """

    def __init__(
        self,
        program: str,
        *,
        subject: str,
        action: str,
        timeout_seconds: float | None = None,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        start: Sequence[str] = ("-m",),
    ) -> None:
        self._command = [sys.executable, "-P", *start, program]
        self._subject, self._action = subject, action
        self._timeout_seconds = timeout_seconds
        self._folder = folder
        self._changes = environment or {}

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**_environment(), **self._changes},
            cwd=self._folder,
            start_new_session=True,  # Ctrl-C is ours alone; we end it
        )
        self._questions = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._questions.close()
        self._answers.close()
        self._log.close()

    def ask(self, question: msgspec.Struct, kind: type[R], report: Report = unreported) -> R:
        """Its answer to a question, which is of this kind; it tells its steps meanwhile.

        Raises:
            CompilerError: that the work itself raised.
            EngineError: the process died or did not answer in time; with the end of what it printed.
        """
        with suppress(BrokenPipeError):  # it died; reading tells so, and why
            self._questions.write(msgspec.json.encode(question) + b"\n")
            self._questions.flush()
        return self._answer(kind, report)

    def finish(self) -> Usage:
        """Let the process end; the last question to it. Raises as `ask`."""
        self._questions.close()
        return self._answer(Usage, unreported)

    def _answer(self, kind: type[R], report: Report) -> R:
        while True:
            line = msgspec.json.decode(self._line(), type=Line)
            if line.failed:
                raise raised(line.failed)
            if line.step is None:
                return msgspec.json.decode(line.answer, type=kind)
            report(line.step.message, line.step.done, line.step.total)

    def _line(self) -> bytes:
        timer = threading.Timer(self._timeout_seconds, self._process.kill) if self._timeout_seconds else None
        if timer:
            timer.start()
        try:
            line = self._answers.readline()
        finally:
            if timer:
                timer.cancel()
        if not line:
            raise self._died()
        return line

    def _died(self) -> EngineError:
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
        return EngineError(
            self._subject,
            found="\n".join([f"exit status {code}", *tail]),
            expected=f"an answer within {self._timeout_seconds:g} s" if self._timeout_seconds else "",
            action=self._action,
        )


def serve(answer: Callable[[bytes, Report], msgspec.Struct]) -> None:
    """Be the process: give each line of the input to `answer`, and send back what it returns or raises.

    What libraries print on standard output goes to standard error. An error that is none of ours ends the process.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(line: Line) -> None:
        answers.write(msgspec.json.encode(line) + b"\n")
        answers.flush()

    def report(message: str, done: int, total: int) -> None:
        send(Line(step=Step(message=message, done=done, total=total)))

    for question in sys.stdin.buffer:
        try:
            send(Line(answer=msgspec.Raw(msgspec.json.encode(answer(question, report)))))
        except CompilerError as error:
            send(Line(failed=failed(error)))
    send(Line(answer=msgspec.Raw(msgspec.json.encode(Usage(peak_memory_bytes=peak_memory_bytes())))))


def failed(error: CompilerError) -> Failed:
    """An error as a record."""
    named: dict[str, Any] = {name: getattr(error, name) for name in ("subject", "found", "expected", "action")}
    return Failed(kind=type(error).__name__, **named)


def raised(found: Failed) -> CompilerError:
    """And back."""
    kind: type[CompilerError] = getattr(errors, found.kind)
    return kind(found.subject, found=found.found, expected=found.expected, action=found.action)


def peak_memory_bytes() -> int:
    """Largest resident set of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # rusage would count what the process was before it became this program
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _environment() -> dict[str, str]:
    """This environment, with this very package importable from wherever the process starts."""
    import compiler

    root = str(Path(next(iter(compiler.__path__))).parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
