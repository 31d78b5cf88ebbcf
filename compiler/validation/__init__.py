"""Validation of a profile: every mistake at once, each with its place and the nearest right word.

msgspec stops at the first mistake, so tables and lists are walked here and only single values are left to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from compiler.errors import ProfileError
from compiler.machine import ARCHITECTURES, FEATURES
from compiler.profile import KINDS, Problem, Profile, read
from compiler.validation.budgets import budget_mistakes
from compiler.validation.passes import known_passes, option_schemas
from compiler.validation.plans import plan_mistakes, plan_schema
from compiler.validation.walk import Mistake, known, walk


def problems(path: Path) -> list[Problem]:
    """See `compiler.profile.validate`."""
    try:
        data = read(path)
    except ProfileError as error:
        return [Problem(file=str(path), path="", message=f"not a readable TOML file: {error.found or error.subject}")]
    found = [*walk(Profile, data, ""), *_names(data), *plan_mistakes(data), *budget_mistakes(data)]
    return [Problem(file=str(path), **mistake._asdict()) for mistake in found]


def profile_schema() -> dict[str, Any]:
    """See `compiler.profile.schema`."""
    result = msgspec.json.schema(Profile)
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    plan_schema(result["$defs"])
    table = {"type": "object", "required": ["name"]}
    if (passes := known_passes()) is None:
        result["$defs"]["PassChoice"] = {"anyOf": [{"type": "string"}, {**table, "properties": {"name": {}}}]}
        return result
    tables = [
        {**table, "properties": {"name": {"const": name}, **options}, "additionalProperties": False}
        for name, options in ((name, option_schemas(passes[name])) for name in passes)
    ]
    result["$defs"]["PassChoice"] = {"anyOf": [{"enum": list(passes)}, *tables]}
    return result


def _names(data: dict[str, Any]) -> Iterator[Mistake]:
    """Words that are of the right type but name nothing."""
    from compiler.engines import ENGINES

    yield from known("engine", data.get("engine"), ENGINES, "engine")
    if isinstance(requires := data.get("requires"), dict):
        architectures = set(ARCHITECTURES.values())
        yield from known("requires.architecture", requires.get("architecture"), architectures, "architecture")
        if isinstance(features := requires.get("features"), list):
            for index, feature in enumerate(features):
                yield from known(f"requires.features[{index}]", feature, FEATURES, "CPU feature")
    for kind in KINDS:
        recipe = data.get(kind)
        if isinstance(recipe, dict) and isinstance(precisions := recipe.get("precisions"), dict):
            yield from known(f"{kind}.precision", recipe.get("precision"), precisions, "precision")
            budgets = recipe.get("budgets")
            for name in budgets if isinstance(budgets, dict) else ():
                yield from known(f"{kind}.budgets.{name}", name, precisions, "precision")
