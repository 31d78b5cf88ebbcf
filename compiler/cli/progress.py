"""Progress of a pipeline on stderr: bars on a terminal, one line per stage anywhere else."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

    from compiler.pipeline import Event, Progress


@contextmanager
def working(verbose: bool) -> Iterator[Progress]:
    """Run stages inside: gives their progress callback and keeps everything they print off stdout."""
    stderr = sys.stderr
    with _quiet(verbose):
        if stderr.isatty():
            with _Bars() as bars:
                yield bars.show
        else:
            with _Lines(stderr) as lines:
                yield lines.show


class _Bars:
    """One rich bar per stage."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            progress.TextColumn("{task.fields[stage]:<10}"),
            progress.BarColumn(bar_width=24),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.description}", markup=False),
            console=Console(file=sys.stderr),
        )
        self._stage = ""
        self._task: TaskID | None = None

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()

    def show(self, event: Event) -> None:
        if event.warning:
            self._bars.console.print(f"{event.stage:<10} {event.message}", markup=False, highlight=False)
            return
        if event.stage != self._stage or self._task is None:
            self._finish()
            self._stage = event.stage
            self._task = self._bars.add_task("", total=None, stage=event.stage)
        text = f"{event.message} (cached)" if event.cached else event.message
        self._bars.update(self._task, description=text, total=event.total or None, completed=event.done)

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, total=1, completed=1)
            self._bars.stop_task(self._task)


class _Lines:
    """`stage  last message  seconds`, once each stage has ended."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: Event | None = None
        self._cached = False
        self._start = 0.0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._finish("" if kind is None else "stopped: ")

    def show(self, event: Event) -> None:
        if event.warning:
            print(f"{event.stage:<10}  warning  {event.message}", file=self._stream, flush=True)
            return
        if self._last is None or event.stage != self._last.stage:
            self._finish("")
            self._cached = False
            self._start = time.perf_counter()
        self._last = event
        self._cached = self._cached or event.cached

    def _finish(self, prefix: str) -> None:
        if self._last is None:
            return
        took = "cached" if self._cached else f"{time.perf_counter() - self._start:.1f} s"
        print(f"{self._last.stage:<10} {took:>8}  {prefix}{self._last.message}", file=self._stream, flush=True)


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Keep stdout for the result: what libraries print goes to stderr, or nowhere unless `verbose`.

    Done on the file descriptor too, for native code and child processes.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    stdout = sys.stdout
    stdout.flush()
    saved = os.dup(1)
    sink = os.dup(2) if verbose else os.open(os.devnull, os.O_WRONLY)
    disabled = logging.root.manager.disable
    os.dup2(sink, 1)
    try:
        with warnings.catch_warnings(), open(sink, "w", encoding="utf-8") as redirected:
            if not verbose:
                logging.disable(logging.WARNING)
                warnings.simplefilter("ignore")
            sys.stdout = redirected
            yield
    finally:
        sys.stdout = stdout
        logging.disable(disabled)
        os.dup2(saved, 1)
        os.close(saved)
