"""Every runner of a model, in turns: each in a process of its own, each workload by all before the next begins."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from compiler import bundle
from compiler.errors import CompilerError
from compiler.machine import detect
from compiler.measure.protocol import Spec
from gpu_trials.asked import Asked
from gpu_trials.runners import COMPILED, EAGER, ENGINE, GRAPHS
from gpu_trials.worker import Trial
from gpu_trials.workloads import workloads_of

RUNNERS = (ENGINE, GRAPHS, EAGER, COMPILED)


@dataclass
class Timed:
    """A runner's milliseconds by workload, all rounds together; `failure` where it could not go on."""

    runner: str
    version: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""


def measure(folder: Path, checkpoint: Path, asked: Asked, runners: Sequence[str] = RUNNERS) -> list[Timed]:
    """Measure a bundle and the checkpoint it was made of. A runner that fails is left out from there on."""
    manifest = bundle.read(folder)
    threads = manifest.options.threads or detect().physical_cores
    found = [Timed(runner) for runner in runners]
    with ExitStack() as stack:
        running: dict[str, Trial] = {}
        for timed in found:
            own = timed.runner in (ENGINE, GRAPHS)
            spec = Spec(
                runner="engine" if own else "pytorch",
                folder=str(folder if own else checkpoint),
                manifest=manifest,
                threads=threads,
            )
            try:
                trial = stack.enter_context(Trial(spec, asked, timed.runner))
            except CompilerError as error:
                timed.failure = str(error)
                continue
            running[timed.runner] = trial
            timed.version = f"{trial.loaded.name} {trial.loaded.version}"
        for number in range(asked.sizes.rounds):
            for workload in workloads_of(manifest, asked.sizes):
                for timed in found:
                    if timed.runner in running:
                        _round(running, timed, workload)
            print(f"round {number + 1} of {asked.sizes.rounds}", file=sys.stderr)
    return found


def _round(running: dict[str, Trial], timed: Timed, workload: str) -> None:
    try:
        series = running[timed.runner].run(workload).series
    except CompilerError as error:
        timed.failure = str(error)
        del running[timed.runner]
        return
    for name, samples in series.items():
        timed.samples.setdefault(name, []).extend(samples)
