"""An engine from a lowered model, in a folder that the runtime can open: a bundle without its certificate."""

from __future__ import annotations

from pathlib import Path

from compiler import bundle, cache
from compiler.cache import INDEX, Artifact, artifact, telling
from compiler.engines import ENGINES, engine
from compiler.progress import Progress, begin, report, warn
from compiler.records import Built, EngineOptions, Exported, Optimized
from compiler.storage import cache_folder

RECORD = "built.json"


def key(lowered: Artifact[Optimized], name: str, options: EngineOptions) -> str:
    """`name` is the engine's."""
    return cache.key(lowered.key, name, engine(name).version(), options, code=[__name__, ENGINES[name]])


def run(
    portable: Artifact[Exported], lowered: Artifact[Optimized], name: str, options: EngineOptions, progress: Progress
) -> Artifact[Built]:
    """`name` is the engine's. Raises as `Engine.build`."""

    def make(out: Path) -> Built:
        built = engine(name).build(lowered.record, lowered.folder, out, options, report(progress, "build"))
        bundle.assemble(out, portable.folder, lowered.record, built, leave_out=[INDEX])
        return built

    folder = cache_folder() / "build" / key(lowered, name, options)
    with telling(warn(progress, "build")):
        return artifact(folder, RECORD, Built, make, begin(progress, "build", name))
