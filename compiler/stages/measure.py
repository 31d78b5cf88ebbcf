"""Speed and memory of a bundle beside PyTorch's."""

from __future__ import annotations

from pathlib import Path

from compiler import bundle, cache, machine
from compiler.cache import Artifact, artifact, telling
from compiler.engines import ENGINES, serving
from compiler.progress import Event, Progress, begin, report, warn
from compiler.records import Built, Measured, Serving
from compiler.storage import cache_folder

RECORD = "measured.json"


def key(built: Artifact[Built], answers: Serving) -> str:
    """What is timed are these very files, on this very machine. `answers` is what runs them here."""
    code = [__name__, ENGINES[built.record.engine]]
    return cache.key(built.key, built.content, machine.detect(), answers, code=code)


def run(built: Artifact[Built], reference: Path, progress: Progress) -> Measured | None:
    """None where another engine than the bundle's own answers here: its speed says nothing about the plans.

    `reference` is the checkpoint's folder. Raises as `compiler.measure.measure`.
    """
    manifest = bundle.read(built.folder)
    answers = serving(manifest, manifest.options)
    if answers.fallback:
        progress(Event("measure", f"left out: {answers.reason}"))
        return None

    from compiler.measure import forget_unsteady, measure

    def make(_: Path) -> Measured:
        return measure(built.folder, reference, progress=report(progress, "measure"))

    started = begin(progress, "measure", "engine and PyTorch, one process each")
    kept = cache_folder() / "measure" / key(built, answers)
    forget_unsteady(kept, RECORD)
    with telling(warn(progress, "measure")):
        return artifact(kept, RECORD, Measured, make, started).record
