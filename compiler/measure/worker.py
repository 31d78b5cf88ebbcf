"""One runner in a process of its own: `python -m compiler.measure.worker`. See `protocol` for what it is told."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import msgspec

from compiler.engines import Session, open_bundle, serving
from compiler.measure.protocol import Loaded, Round, Samples, Spec, Usage
from compiler.measure.workloads import workloads_of


def main() -> None:
    """Serve one measurement."""
    start = time.perf_counter()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is not an answer

    def answer(record: msgspec.Struct) -> None:
        answers.write(msgspec.json.encode(record) + b"\n")
        answers.flush()

    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=Spec)
    session, name, version = open_runner(spec)
    answer(Loaded(name=name, version=version, seconds=time.perf_counter() - start))
    known = workloads_of(spec.manifest)
    for line in sys.stdin.buffer:
        workload = known[msgspec.json.decode(line, type=Round).workload]
        answer(Samples(series=workload(session)))
    answer(Usage(peak_memory_bytes=peak_memory_bytes()))


def open_runner(spec: Spec) -> tuple[Session, str, str]:
    """The session to measure, its name and version."""
    manifest = spec.manifest
    if spec.runner == "engine":
        options = msgspec.structs.replace(manifest.options, threads=spec.threads)
        answers = serving(manifest, options)
        return open_bundle(Path(spec.folder), manifest, options), answers.engine, answers.version

    from importlib.metadata import version

    from compiler.checkpoint.reference import Reference

    reference = Reference(Path(spec.folder), manifest.task, threads=spec.threads, merged=True)
    return reference, "pytorch", version("torch")


def peak_memory_bytes() -> int:
    """Largest resident set of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # rusage would count what the process was before it became this program
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
