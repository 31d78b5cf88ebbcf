"""Speed and memory of an engine and of PyTorch, each in a process of its own, on one machine in one run.

Rounds alternate between the two, so that a machine that gets slower gets slower for both. Raw samples are kept.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from compiler import records
from compiler.bundle import MANIFEST
from compiler.machine import detect
from compiler.machine import threads as threads_of
from compiler.measure.process import Worker
from compiler.measure.protocol import Samples, Spec
from compiler.measure.steadiness import forget_unsteady, unsteady
from compiler.measure.workloads import workloads_of
from compiler.progress import Report, unreported
from compiler.records import Manifest, Measured, Runner, Series
from compiler.workers import Usage

__all__ = ["forget_unsteady", "measure"]

ROUNDS = 3

# Of a checkpoint folder, what PyTorch reads.
CHECKPOINT_FILES = (".safetensors", ".json", ".txt", ".model", ".jinja")


def measure(folder: Path, reference: Path | None, *, progress: Report = unreported) -> Measured:
    """Measure a bundle, and the checkpoint it was made of.

    Both runners get the same number of threads: what the manifest says, or every physical core.

    Args:
        folder: the bundle, or the folder that becomes it; the files its manifest lists are not looked at.
        reference: the checkpoint as a folder for PyTorch; None measures the engine alone.

        progress: called with a message, the steps done and their number.

    Raises:
        IntegrityError: the folder has no readable manifest.
        EngineError: a worker died.
    """
    start = time.perf_counter()
    manifest = records.load(folder / MANIFEST, Manifest)
    machine = detect()
    threads = threads_of(manifest.options.threads)
    specs = [Spec(runner="engine", folder=str(folder), manifest=manifest, threads=threads)]
    if reference is not None:
        specs.append(Spec(runner="pytorch", folder=str(reference), manifest=manifest, threads=threads))
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(spec)) for spec in specs]
        rounds: list[list[Samples]] = [[] for _ in workers]
        steps = [workload for _ in range(ROUNDS) for workload in workloads_of(manifest)]
        for done, workload in enumerate(steps):
            progress(workload, done, len(steps))
            for worker, samples in zip(workers, rounds, strict=True):
                samples.append(worker.run(workload))
        runners = [
            _runner(worker, spec, samples, worker.finish())
            for worker, spec, samples in zip(workers, specs, rounds, strict=True)
        ]
    return Measured(
        engine=runners[0],
        reference=runners[1] if len(runners) > 1 else None,
        machine=machine,
        seconds=time.perf_counter() - start,
        unsteady=unsteady(runners),
    )


def _runner(worker: Worker, spec: Spec, rounds: list[Samples], usage: Usage) -> Runner:
    series: dict[str, list[float]] = {}
    for samples in rounds:
        for name, values in samples.series.items():
            series.setdefault(name, []).extend(values)
    return Runner(
        name=worker.loaded.name,
        version=worker.loaded.version,
        threads=spec.threads,
        series=tuple(
            Series(name=name, unit="ms", better="lower", samples=tuple(values)) for name, values in series.items()
        ),
        load_seconds=worker.loaded.seconds,
        peak_memory_bytes=usage.peak_memory_bytes,
        disk_bytes=_disk_bytes(Path(spec.folder), CHECKPOINT_FILES if spec.runner == "pytorch" else None),
    )


def _disk_bytes(folder: Path, suffixes: tuple[str, ...] | None) -> int:
    """Size of the files in a folder and below, all or those with one of the suffixes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if suffixes is None or path.suffix in suffixes)
