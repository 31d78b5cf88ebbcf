"""Targets and recipes: what a profile that names a recipe amounts to, as one table.

A target states facts of a machine, a recipe what is done for an engine, on every target that names it. The target's own
entries come before the recipe's, table by table; a target without a recipe holds everything itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.errors import ProfileError, did_you_mean
from compiler.profile.content import KINDS
from compiler.reading import read_toml

RECIPE, SIZES, PRECISIONS = "recipe", "sizes", "precisions"
MARK = "$"  # before the name of a size, in place of a number


def resolved(data: Mapping[str, Any], recipes: Path) -> dict[str, Any]:
    """A profile's raw table with its recipe in it.

    `precisions` beside the kinds of models are of every kind that has none of that name; "$NAME" is a number of the
    table `sizes`. Of a recipe's precisions those are left out that need a number format which the device lacks.

    Args:
        data: the raw table; one with mistakes is resolved as far as that goes.
        recipes: the folder of the shipped recipes.

    Raises:
        ProfileError: there is no such recipe, or no such size.
    """
    shared = _recipe(data[RECIPE], recipes) if RECIPE in data else {}
    for name in data.get(SIZES, {}) if shared and isinstance(data.get(SIZES), dict) else ():
        if name not in shared.get(SIZES, {}):
            raise _unknown("size", name, shared.get(SIZES, {}))
    merged = _merged(shared, {name: value for name, value in data.items() if name != RECIPE})
    sizes, common = merged.pop(SIZES, {}), merged.pop(PRECISIONS, {})
    for kind in KINDS:
        if isinstance(recipe := merged.get(kind), dict):
            merged[kind] = _merged({PRECISIONS: common}, recipe) if common else recipe
            if shared:
                _drop_lacking(merged[kind], merged.get("device"))
    known = sizes if isinstance(sizes, dict) else {}
    return {name: _numbers(value, known) for name, value in merged.items()}


def names(recipes: Path) -> tuple[str, ...]:
    """The shipped recipes, sorted."""
    return tuple(sorted(path.stem for path in recipes.glob("*.toml")))


def _recipe(name: Any, recipes: Path) -> dict[str, Any]:
    if name not in names(recipes):
        raise _unknown("recipe", name, names(recipes))
    return read_toml(recipes / f"{name}.toml", ProfileError)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables, the second's entries where both have one that is no table."""
    result = dict(base)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = _merged(result[name], value) if both else value
    return result


def _drop_lacking(recipe: dict[str, Any], device: Any) -> None:
    """Leave out precisions, with their budgets, that need number formats which the device does not have."""
    from compiler.validation.passes import formats_of

    able = device.get(PRECISIONS) if isinstance(device, dict) else None
    precisions = recipe.get(PRECISIONS)
    if not isinstance(able, list) or not isinstance(precisions, dict):
        return
    lacking = {
        name
        for name, passes in precisions.items()
        if isinstance(passes, list) and any(word not in able for entry in passes for word in formats_of(entry))
    }
    for table in (PRECISIONS, "budgets"):
        if isinstance(recipe.get(table), dict):
            recipe[table] = {name: value for name, value in recipe[table].items() if name not in lacking}


def _numbers(value: Any, sizes: Mapping[str, Any]) -> Any:
    """The same with sizes in place of their names."""
    if isinstance(value, dict):
        return {name: _numbers(each, sizes) for name, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each, sizes) for each in value]
    if isinstance(value, str) and value.startswith(MARK):
        if value.removeprefix(MARK) not in sizes:
            raise _unknown("size", value.removeprefix(MARK), sizes)
        return sizes[value.removeprefix(MARK)]
    return value


def _unknown(noun: str, name: Any, known: Any) -> ProfileError:
    return ProfileError(
        f'{noun} "{name}" is unknown',
        found=repr(name),
        expected=", ".join(known) or "none",
        action=did_you_mean(str(name), tuple(known)),
    )
