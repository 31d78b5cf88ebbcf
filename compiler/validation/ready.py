"""Whether a build could end, asked before any work is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from compiler.engines import engine
from compiler.profile import Profile, Recipe, engine_options
from compiler.traffic import Traffic, fit
from compiler.validation.passes import formats_of


def ready(
    profile: Profile, *, precision: str | None = None, targets: Sequence[str] = (), traffic: Traffic | None = None
) -> None:
    """Raise unless a bundle for this profile can be built here, in this precision.

    Args:
        profile: what is to be built for.
        precision: None is the default of each recipe.
        targets: instead of the profile's own.
        traffic: that the shapes are to be made from.

    Raises:
        UsageError: targets or traffic for a profile that builds no plans.
        EngineUnavailableError: the engine, or a flavor of TensorRT that serves a target, is missing here; or a target
            cannot use a number format of the precision.
    """
    shapes = fit(traffic, profile.encoder.shapes, "encoder", sys.maxsize).shapes if traffic else ()
    options = engine_options(profile, "encoder", targets=targets, shapes=shapes)
    engine(profile.engine).ready(options, formats(profile, precision))


def formats(profile: Profile, precision: str | None) -> set[str]:
    """Number formats beyond float32 that models are brought to, of whatever kind they are."""
    recipes = [recipe for recipe in (profile.encoder, profile.decoder, profile.encoder_decoder) if recipe]
    return {name for recipe in recipes for choice in _passes(recipe, precision) for name in choice}


def _passes(recipe: Recipe, precision: str | None) -> list[tuple[str, ...]]:
    chosen = recipe.precisions.get(precision or recipe.precision, ())
    return [formats_of({"name": choice.name, **choice.options}) for choice in (*recipe.passes, *chosen)]
