"""Watching a build: its progress and its errors."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from compiler.engines.tensorrt.api import TensorRT
from compiler.progress import Report


class Progress:
    """Turns TensorRT's nested phases into `report(message, done, total)`. Safe to call from several threads.

    Only the outermost phases that have steps are reported.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._phases: dict[str, tuple[str | None, int]] = {}

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[phase] = (parent, steps)
            if not self._inside(parent):
                self._report(phase, 0, steps)

    def step(self, phase: str, done: int) -> None:
        """One more step; `done` counts from 0."""
        with self._lock:
            parent, steps = self._phases.get(phase, (None, 0))
            if not self._inside(parent):
                self._report(phase, min(done + 1, steps), steps)

    def finish(self, phase: str) -> None:
        with self._lock:
            self._phases.pop(phase, None)

    def _inside(self, parent: str | None) -> bool:
        """Whether a phase around this one has steps of its own to show."""
        while parent in self._phases:
            parent, steps = self._phases[parent]
            if steps > 1:
                return True
        return False


class Recorded(NamedTuple):
    """An error as TensorRT reports it; `code` is its own enumeration's."""

    code: Any
    text: str


def native_monitor(trt: TensorRT, progress: Progress) -> Any:
    """An `IProgressMonitor` that tells `progress`. It must outlive the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.step(phase_name, step)
            return True

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


def native_recorder(trt: TensorRT, errors: list[Recorded]) -> Any:
    """An `IErrorRecorder` that appends to `errors`."""
    lock = threading.Lock()

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)

        def report_error(self, code: Any, description: str) -> bool:
            with lock:
                errors.append(Recorded(code, description))
            return False  # go on: the build tells in the end that it failed

        def num_errors(self) -> int:
            return len(errors)

        def get_error_code(self, index: int) -> Any:
            return errors[index].code

        def get_error_desc(self, index: int) -> str:
            return errors[index].text

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            with lock:
                errors.clear()

    return Recorder()
