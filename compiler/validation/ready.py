"""Whether a build could end, asked before any work is done."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from compiler.engines import engine
from compiler.profile import KINDS, Profile, Recipe, engine_options
from compiler.records import Kind
from compiler.traffic import Traffic, fit
from compiler.validation.passes import formats_of


def ready(
    profile: Profile,
    kinds: Collection[Kind] = KINDS,
    *,
    precision: str | None = None,
    targets: Sequence[str] = (),
    traffic: Traffic | None = None,
) -> None:
    """Raise unless a bundle of a model of one of these kinds can be built here, in this precision.

    Args:
        profile: what is to be built for.
        kinds: that the model may be of; before it is read, all that have a recipe.
        precision: None is the default of each recipe.
        targets: instead of the profile's own.
        traffic: that the shapes are to be made from.

    Raises:
        UsageError: targets or traffic for a profile that builds no plans.
        EngineUnavailableError: the engine, or a flavor of TensorRT that serves a target, is missing here; or a target
            cannot use a number format that each of the kinds is brought to.
    """
    shapes = fit(traffic, profile.encoder.shapes, "encoder", sys.maxsize).shapes if traffic else ()
    options = engine_options(profile, "encoder", targets=targets, shapes=shapes)
    every = {"encoder": profile.encoder, "decoder": profile.decoder, "encoder-decoder": profile.encoder_decoder}
    wanted = [
        formats(recipe, found) for kind in kinds if (recipe := every[kind]) and (found := _chosen(recipe, precision))
    ]
    engine(profile.engine).ready(options, set.intersection(*wanted) if wanted else ())


def _chosen(recipe: Recipe, precision: str | None) -> str | None:
    """The precision by its name; None where this recipe does not offer it."""
    name = precision or recipe.precision
    return name if name in recipe.precisions else None


def formats(recipe: Recipe, precision: str) -> set[str]:
    """Number formats beyond float32 that a recipe brings a model to."""
    passes = (*recipe.passes, *recipe.precisions[precision])
    return {name for choice in passes for name in formats_of({"name": choice.name, **choice.options})}
