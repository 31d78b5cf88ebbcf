"""One runner in a process of its own. See `protocol` for what it is asked."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from compiler.engines import Session, open_bundle, serving
from compiler.measure.protocol import Loaded, Round, Samples, Spec
from compiler.measure.workloads import Workload, workloads_of
from compiler.progress import Report
from compiler.workers import serve


def main() -> None:
    """Serve one measurement."""
    start = time.perf_counter()
    session: Session | None = None
    known: dict[str, Workload] = {}

    def answer(question: bytes, _: Report) -> Loaded | Samples:
        nonlocal session
        if session is None:
            spec = msgspec.json.decode(question, type=Spec)
            session, name, version = open_runner(spec)
            known.update(workloads_of(spec.manifest))
            return Loaded(name=name, version=version, seconds=time.perf_counter() - start)
        workload = known[msgspec.json.decode(question, type=Round).workload]
        return Samples(series=workload(session))

    serve(answer)


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


if __name__ == "__main__":
    main()
