"""A portable model lowered for a profile."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from compiler import cache
from compiler.cache import Artifact, artifact, telling
from compiler.progress import Event, Progress, begin, warn
from compiler.records import Exported, Lowering, Optimized, graph_files
from compiler.storage import cache_folder

RECORD = "optimized.json"
CALIBRATION_TEXTS, CALIBRATION_TOKENS = 32, 128


def key(portable: Artifact[Exported], lowering: Lowering, *, strict: bool) -> str:
    """What the profile is called decides nothing."""
    decisive = (lowering.precision, lowering.passes, lowering.requires, strict, portable.record.context_length)
    return cache.key(portable.key, *decisive, code=[__name__])


def run(portable: Artifact[Exported], lowering: Lowering, *, strict: bool, progress: Progress) -> Artifact[Optimized]:
    """The model after all passes. Raises as `compiler.optimize.lower.optimize`."""
    folder, exported = portable.folder, portable.record
    steps = len(lowering.passes) * len(graph_files(exported))

    def make(out: Path) -> Optimized:
        from compiler.optimize.calibration import rare_feeds, text_feeds
        from compiler.optimize.lower import optimize
        from compiler.optimize.passes import PASSES

        done = iter(range(1, steps + 1))
        return optimize(
            folder,
            exported,
            [PASSES[choice.name](**choice.options) for choice in lowering.passes],
            profile_name=lowering.profile,
            target=lowering.requires,
            precision=lowering.precision,
            out=out,
            calibration=functools.partial(
                text_feeds, folder / "tokenizer.json", exported, CALIBRATION_TEXTS, CALIBRATION_TOKENS, 0
            ),
            rare=functools.partial(rare_feeds, exported, 0),
            observers=[lambda _, run: progress(Event("optimize", run.name, next(done), steps))],
            strict=strict,
        )

    place = cache_folder() / "optimize" / key(portable, lowering, strict=strict)
    started = begin(progress, "optimize", f"{lowering.precision} for {lowering.profile}")
    with telling(warn(progress, "optimize")):
        made = artifact(place, RECORD, Optimized, make, started)
    return made._replace(record=msgspec.structs.replace(made.record, exported=exported, profile=lowering.profile))
