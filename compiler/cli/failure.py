"""Failures become a message on stderr, or one JSON object on stdout, and an exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

import click

from compiler.errors import CompilerError, StorageError

INTERRUPTED = 130
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class Failure(NamedTuple):
    kind: str
    exit_code: int
    subject: str
    found: str
    expected: str
    action: str


def exit_with(error: BaseException, words: Sequence[str]) -> NoReturn:
    """Report `error` as the command line `words` asked for it, and exit."""
    options = words[: words.index("--")] if "--" in words else words
    failure = describe(error)
    if "--verbose" in options:
        click.echo("".join(traceback.format_exception(error)), err=True)
    if "--json" in options:
        click.echo(json.dumps({"error": failure._asdict()}, indent=2, ensure_ascii=False))
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        lines = [f"{click.style('error:', fg='red', bold=True)} {failure.subject}"]
        details = (("found", failure.found), ("expected", failure.expected), ("do", failure.action))
        lines += [f"  {word + ':':<10}{text}" for word, text in details if text]
        click.echo("\n".join(lines), err=True)
    sys.exit(failure.exit_code)


def describe(error: BaseException) -> Failure:
    """What to tell about `error`; a full disk is recognized anywhere in its chain of causes."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Failure("Interrupted", INTERRUPTED, "interrupted; nothing half-written was left behind", "", "", "")
    if isinstance(error, click.ClickException):
        kind = "UsageError" if isinstance(error, click.UsageError) else type(error).__name__
        return Failure(kind, error.exit_code, error.format_message(), "", "", _help(error))
    if not isinstance(error, StorageError) and (disk := _disk_error(error)):
        return _parts(_unwritten(disk))
    if isinstance(error, CompilerError):
        return _parts(error)
    action = "rerun with --verbose for the traceback"
    return Failure(type(error).__name__, CompilerError.exit_code, f"unexpected: {error!r}", "", "", action)


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGTERM, a pipeline's cancel, as Ctrl-C: temporary files are removed on the way out.

    Ctrl-C counts also in a job that a shell started in the background, which inherits that it is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {each: signal.signal(each, _interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parts(error: CompilerError) -> Failure:
    kind = type(error)
    return Failure(kind.__name__, kind.exit_code, error.subject, error.found, error.expected, error.action)


def _help(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see `{context.command_path} --help`" if context else ""


def _unwritten(disk: BaseException) -> StorageError:
    from compiler.storage import advice

    number = disk.errno if isinstance(disk, OSError) else errno.ENOSPC
    file = getattr(disk, "filename", None)
    return StorageError(
        f"{file or 'the output'}: could not be written",
        found=getattr(disk, "strerror", None) or str(disk),
        action=f"{advice(number, Path(file or '.'))}; `compile doctor` shows the cache",
    )


def _disk_error(error: BaseException) -> BaseException | None:
    link: BaseException | None = error
    while link is not None:
        # Native libraries report a full disk in words only.
        if (isinstance(link, OSError) and link.errno in DISK_ERRORS) or os.strerror(errno.ENOSPC) in str(link):
            return link
        link = link.__cause__ or link.__context__
    return None
