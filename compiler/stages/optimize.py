"""A portable model lowered for a profile."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compiler import cache
from compiler.cache import Artifact, artifact, telling
from compiler.progress import Event, Progress, begin, warn
from compiler.records import Exported, Optimized, graph_files
from compiler.storage import cache_folder

if TYPE_CHECKING:
    from compiler.profile import Profile
    from compiler.records import PassChoice

RECORD = "optimized.json"
CALIBRATION_TEXTS, CALIBRATION_TOKENS = 32, 128


def key(portable: Artifact[Exported], target: Profile, precision: str | None, *, strict: bool) -> str:
    """Raises UsageError: the profile has no such precision for this kind of model."""
    chosen, passes = lowering(target, portable.record, precision)
    decisive = (target.name, target.requires, chosen, passes, strict, portable.record.context_length)
    return cache.key(portable.key, *decisive, code=[__name__])


def run(
    portable: Artifact[Exported], target: Profile, precision: str | None, *, strict: bool, progress: Progress
) -> Artifact[Optimized]:
    """The model after all passes. Raises as `key` and `compiler.optimize.lower.optimize`."""
    folder, exported = portable.folder, portable.record
    chosen, passes = lowering(target, exported, precision)
    steps = len(passes) * len(graph_files(exported))

    def make(out: Path) -> Optimized:
        from compiler.optimize.calibration import text_feeds
        from compiler.optimize.lower import optimize
        from compiler.optimize.passes import PASSES

        done = iter(range(1, steps + 1))
        return optimize(
            folder,
            exported,
            [PASSES[choice.name](**choice.options) for choice in passes],
            profile_name=target.name,
            target=target.requires,
            precision=chosen,
            out=out,
            calibration=functools.partial(
                text_feeds, folder / "tokenizer.json", exported, CALIBRATION_TEXTS, CALIBRATION_TOKENS, 0
            ),
            observers=[lambda _, run: progress(Event("optimize", run.name, next(done), steps))],
            strict=strict,
        )

    place = cache_folder() / "optimize" / key(portable, target, precision, strict=strict)
    started = begin(progress, "optimize", f"{chosen} for {target.name}")
    with telling(warn(progress, "optimize")):
        made = artifact(place, RECORD, Optimized, make, started)
    return made._replace(record=msgspec.structs.replace(made.record, exported=exported))


def lowering(target: Profile, exported: Exported, precision: str | None) -> tuple[str, list[PassChoice]]:
    """The precision, the profile's default where None is asked for, and all passes in order.

    Raises UsageError where the profile has no such precision for this kind of model.
    """
    chosen = target.chosen([exported.kind], precision)
    recipe = target.recipe(exported.kind)
    return chosen, [*recipe.passes, *recipe.precisions[chosen]]
