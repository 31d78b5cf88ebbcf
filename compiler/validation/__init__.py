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
from compiler.profile.content import KINDS, Profile
from compiler.profile.files import Problem, read, recipes, whole
from compiler.validation.budgets import budget_mistakes
from compiler.validation.passes import follows, known_passes, name_of, option_schemas
from compiler.validation.plans import plan_mistakes, plan_schema
from compiler.validation.walk import Mistake, known, walk


def problems(path: Path) -> list[Problem]:
    """See `compiler.profile.validate`."""
    try:
        raw = read(path)
    except ProfileError as error:
        return [Problem(file=str(path), path="", message=f"not a readable TOML file: {error.found or error.subject}")]
    try:
        data = whole(raw)
    except ProfileError as error:
        return [Problem(file=str(path), path="", message=error.subject, suggestion=error.action)]
    found = [*walk(Profile, data, ""), *_names(data), *_order(data), *plan_mistakes(data), *budget_mistakes(data)]
    return [Problem(file=str(path), **mistake._asdict()) for mistake in found]


def profile_schema() -> dict[str, Any]:
    """See `compiler.profile.schema`."""
    result = msgspec.json.schema(Profile)
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    plan_schema(result["$defs"])
    _recipe_schema(result["$defs"])
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


def _recipe_schema(definitions: dict[str, Any]) -> None:
    """Allow what a recipe adds: its own keys, and the absence of what it holds."""
    profile = definitions[Profile.__name__]
    alone = [name for name in profile["required"] if name not in ("name", "description", "requires")]
    profile["required"] = ["name", "description", "requires"]
    profile["anyOf"] = [{"required": ["recipe"]}, {"required": alone}]
    profile["properties"]["recipe"] = {"enum": list(recipes())}
    profile["properties"]["sizes"] = {"type": "object", "additionalProperties": {"type": "integer"}}
    profile["properties"]["precisions"] = definitions["Recipe"]["properties"]["precisions"]
    del definitions["Recipe"]["required"]


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


def _order(data: dict[str, Any]) -> Iterator[Mistake]:
    """Passes that stand before one which they must follow."""
    for kind in KINDS:
        recipe = data.get(kind)
        if not isinstance(recipe, dict) or not isinstance(precisions := recipe.get("precisions"), dict):
            continue
        for precision, passes in precisions.items():
            places = [
                (name, f"{kind}.{where}[{index}]")
                for where, entries in (("passes", recipe.get("passes")), (f"precisions.{precision}", passes))
                for index, entry in enumerate(entries if isinstance(entries, list) else ())
                if (name := name_of(entry))
            ]
            for index, (name, path) in enumerate(places):
                if late := [other for other, _ in places[index + 1 :] if other in follows(name)]:
                    yield Mistake(path, f'"{name}" stands before "{late[0]}"', "it must follow it")
