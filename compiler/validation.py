"""Validation of a profile: every mistake at once, each with its place and the nearest right word.

msgspec stops at the first mistake, so tables and lists are walked here and only single values are left to it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from compiler.errors import did_you_mean
from compiler.machine import ARCHITECTURES, FEATURES
from compiler.profile import KINDS, PassChoice, Problem, Profile, read


class Mistake(NamedTuple):
    path: str
    message: str
    suggestion: str = ""


class Field(NamedTuple):
    type: Any
    required: bool


def problems(path: Path) -> list[Problem]:
    """See `compiler.profile.validate`."""
    try:
        data = read(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return [Problem(file=str(path), path="", message=f"not a readable TOML file: {error}")]
    found = [*_walk(Profile, data, ""), *_names(data)]
    return [Problem(file=str(path), **mistake._asdict()) for mistake in found]


def profile_schema() -> dict[str, Any]:
    """See `compiler.profile.schema`."""
    result = msgspec.json.schema(Profile)
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    table = {"type": "object", "required": ["name"]}
    if (passes := _passes()) is None:
        result["$defs"]["PassChoice"] = {"anyOf": [{"type": "string"}, {**table, "properties": {"name": {}}}]}
        return result
    tables = [
        {**table, "properties": {"name": {"const": name}, **options}, "additionalProperties": False}
        for name, options in ((name, _option_schemas(passes[name])) for name in passes)
    ]
    result["$defs"]["PassChoice"] = {"anyOf": [{"enum": list(passes)}, *tables]}
    return result


def _walk(expected: Any, value: Any, path: str) -> Iterator[Mistake]:
    """Mistakes of `value` (at `path`) against a type."""
    if get_origin(expected) is UnionType:  # what may be left out
        expected = next(part for part in get_args(expected) if part is not type(None))
    if expected is PassChoice:
        yield from _walk_pass(value, path)
    elif isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        fields = {field.encode_name: Field(field.type, field.required) for field in msgspec.structs.fields(expected)}
        yield from _walk_table(fields, value, path, "key")
    elif get_origin(expected) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(get_args(expected)[0], item, f"{path}[{index}]")
    elif get_origin(expected) is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(get_args(expected)[1], item, f"{path}.{key}")
    else:
        yield from _convert(expected, value, path)


def _walk_table(fields: dict[str, Field], value: Any, path: str, noun: str) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield Mistake(path, f"expected a table, found {value!r}")
        return
    for key, item in value.items():
        if key in fields:
            yield from _walk(fields[key].type, item, _join(path, key))
        else:
            yield Mistake(_join(path, key), f"unknown {noun}", _nearest(key, fields, f"the {noun}s here are"))
    for key, field in fields.items():
        if field.required and key not in value:
            yield Mistake(_join(path, key), f"missing {noun}")


def _walk_pass(value: Any, path: str) -> Iterator[Mistake]:
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str):
        yield Mistake(path, f"expected a pass name or a table with a name, found {value!r}")
        return
    if (passes := _passes()) is None:
        return
    if name not in passes:
        yield Mistake(path, f'unknown pass "{name}"', _nearest(name, passes, "the passes are"))
        return
    options = {key: item for key, item in value.items() if key != "name"} if isinstance(value, dict) else {}
    mistakes = list(_walk_table(_options(passes[name]), options, path, "option"))
    yield from mistakes or _convert(passes[name], options, path)


def _convert(expected: Any, value: Any, path: str) -> Iterator[Mistake]:
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        yield Mistake(path, str(error), f"found {value!r}")


def _names(data: dict[str, Any]) -> Iterator[Mistake]:
    """Words that are of the right type but name nothing."""
    from compiler.engines import ENGINES

    yield from _known("engine", data.get("engine"), ENGINES, "engine")
    if isinstance(requires := data.get("requires"), dict):
        architectures = set(ARCHITECTURES.values())
        yield from _known("requires.architecture", requires.get("architecture"), architectures, "architecture")
        if isinstance(features := requires.get("features"), list):
            for index, feature in enumerate(features):
                yield from _known(f"requires.features[{index}]", feature, FEATURES, "CPU feature")
    for kind in KINDS:
        recipe = data.get(kind)
        if isinstance(recipe, dict) and isinstance(precisions := recipe.get("precisions"), dict):
            yield from _known(f"{kind}.precision", recipe.get("precision"), precisions, "precision")


def _known(path: str, value: Any, known: Iterable[str], noun: str) -> Iterator[Mistake]:
    if isinstance(value, str) and value not in known:
        yield Mistake(path, f'unknown {noun} "{value}"', _nearest(value, known, "known are"))


def _nearest(word: str, known: Iterable[str], lead: str) -> str:
    return did_you_mean(word, known) or f"{lead} {', '.join(sorted(known)) or 'none'}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _options(kind: type[Any]) -> dict[str, Field]:
    hints = get_type_hints(kind, include_extras=True)
    nothing = dataclasses.MISSING
    return {
        field.name: Field(hints[field.name], field.default is nothing and field.default_factory is nothing)
        for field in dataclasses.fields(kind)
    }


def _option_schemas(kind: type[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    return schema


def _passes() -> dict[str, type[Any]] | None:
    """The table of passes, or None where the `build` extra is not installed."""
    if importlib.util.find_spec("onnx_ir") is None:
        return None
    from compiler.optimize.passes import PASSES

    return dict(PASSES)
