"""One runner in a process of its own, which speaks the protocol of `compiler.measure`."""

from __future__ import annotations

from typing import Any

from compiler.measure import worker
from compiler.measure.process import Worker
from compiler.measure.protocol import Spec
from compiler.records import Manifest
from gpu_trials.asked import Asked, hand_over, handed_over
from gpu_trials.runners import open_runner
from gpu_trials.workloads import Workload, workloads_of


class Trial(Worker):
    """The process of this module in place of the usual one."""

    program = "gpu_trials.worker"

    def __init__(self, spec: Spec, asked: Asked, runner: str) -> None:
        super().__init__(spec)
        self._asked, self._runner = asked, runner

    def __enter__(self) -> Trial:
        hand_over(self._asked, self._runner)
        super().__enter__()
        return self


def main() -> None:
    asked, name = handed_over()

    def opened(spec: Spec) -> tuple[Any, str, str]:
        runner = open_runner(spec, asked, name)
        return runner, runner.name, runner.version

    def known(manifest: Manifest) -> dict[str, Workload]:
        return workloads_of(manifest, asked.sizes)

    worker.open_runner = opened
    worker.workloads_of = known  # type: ignore[assignment]
    worker.main()


if __name__ == "__main__":
    main()
