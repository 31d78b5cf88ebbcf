"""A worker process, seen from the measurement."""

from __future__ import annotations

from typing import Self

from compiler.measure.protocol import Loaded, Round, Samples, Spec
from compiler.workers import Process

TIMEOUT_SECONDS = 600.0  # for one answer; loading a large model is the longest


class Worker(Process):
    """A context manager in which one runner has its model open. `loaded` says which, and how long that took.

    Raises:
        CompilerError: what kept it from opening the model.
        EngineError: it died or did not answer in time; with the end of what it printed.
    """

    program = "compiler.measure.worker"

    def __init__(self, spec: Spec, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__(
            self.program,
            subject=f"the measurement of {spec.runner} in {spec.folder} died",
            action="free memory, or leave the measurement out",
            timeout_seconds=timeout_seconds,
        )
        self._spec = spec

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.loaded = self.ask(self._spec, Loaded)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def run(self, workload: str) -> Samples:
        """One round of a workload. Raises as `ask`."""
        return self.ask(Round(workload=workload), Samples)
