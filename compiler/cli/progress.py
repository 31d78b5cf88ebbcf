"""Progress of a pipeline on stderr: bars on a terminal; elsewhere a line when a stage ends, and while it lasts."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

    from compiler.progress import Event, Progress

EVERY_SECONDS = 30.0


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
    """One rich bar per stage, which ends with what the stage is."""

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
        self._stage = self._title = ""
        self._cached = False
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
            self._title = event.message
            self._cached = False
            self._task = self._bars.add_task("", total=None, stage=event.stage)
        self._cached = self._cached or event.cached
        self._bars.update(
            self._task, description=_place(self._title, event), total=event.total or None, completed=event.done
        )

    def _finish(self) -> None:
        if self._task is not None:
            text = f"{self._title} (cached)" if self._cached else self._title
            self._bars.update(self._task, description=text, total=1, completed=1)
            self._bars.stop_task(self._task)


class _Lines:
    """`stage  seconds  what it is` once each stage has ended, and how far it has come every half a minute before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._every = EVERY_SECONDS
        self._title = ""
        self._last: Event | None = None
        self._cached = False
        self._start = self._written = time.perf_counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Lines:
        self._clock.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._clock.join()
        self._finish(stopped=kind is not None)

    def show(self, event: Event) -> None:
        with self._lock:
            if event.warning:
                self._write(event.stage, "warning", event.message)
                return
            if self._last is None or event.stage != self._last.stage:
                self._finish(stopped=False)
                self._title = event.message
                self._cached = False
                self._start = self._written = time.perf_counter()
            self._last = event
            self._cached = self._cached or event.cached

    def _watch(self) -> None:
        """Write whenever nothing was written for so long, also while a single step takes longer than that."""
        wait = self._every
        while not self._over.wait(wait):
            with self._lock, suppress(OSError, ValueError):  # nobody reads it any more
                if self._last is not None and time.perf_counter() - self._written >= self._every:
                    self._write(self._last.stage, self._took(), f"... {_place(self._title, self._last)}")
                wait = max(0.01, self._written + self._every - time.perf_counter())

    def _finish(self, *, stopped: bool) -> None:
        if self._last is not None:
            text = f"stopped: {_place(self._title, self._last)}" if stopped else self._title
            self._write(self._last.stage, "cached" if self._cached else self._took(), text)

    def _took(self) -> str:
        return f"{time.perf_counter() - self._start:.1f} s"

    def _write(self, stage: str, word: str, text: str) -> None:
        self._written = time.perf_counter()
        print(f"{stage:<10} {word:>8}  {text}", file=self._stream, flush=True)


def _place(title: str, event: Event) -> str:
    """What a stage is, and how far it has come."""
    if event.message == title:
        return title
    return f"{title}, {event.message}" + (f" ({event.done} of {event.total} done)" if event.total else "")


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
