"""The passes that a profile can name, their options, and the number formats that they write."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Mapping
from typing import Any, NamedTuple, cast, get_type_hints

import msgspec


class Field(NamedTuple):
    type: Any
    required: bool


def known_passes() -> dict[str, type[Any]] | None:
    """The table of passes, or None where the `build` extra is not installed."""
    if importlib.util.find_spec("onnx_ir") is None:
        return None
    from compiler.optimize.passes import PASSES

    return dict(PASSES)


@functools.cache
def options_of(kind: type[Any]) -> Mapping[str, Field]:
    """The options of a pass."""
    hints = get_type_hints(kind, include_extras=True)
    nothing = dataclasses.MISSING
    return {
        field.name: Field(hints[field.name], field.default is nothing and field.default_factory is nothing)
        for field in dataclasses.fields(kind)
    }


def option_schemas(kind: type[Any]) -> dict[str, Any]:
    """The JSON Schema of each option of a pass."""
    schema: dict[str, Any] = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    return schema


def name_of(entry: Any) -> str:
    """The name of a pass in a profile, or "" where it is none."""
    name = entry.get("name") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else ""


def follows(name: str) -> tuple[str, ...]:
    """The passes that one of this name must follow; none for one that is not known here."""
    passes = known_passes() or {}
    return cast("tuple[str, ...]", passes[name].follows) if name in passes else ()


def formats_of(entry: Any) -> tuple[str, ...]:
    """Number formats beyond float32 that a pass of a profile writes; none for one with mistakes, or not known here."""
    name = entry.get("name") if isinstance(entry, dict) else entry
    passes = known_passes() or {}
    if not isinstance(name, str) or name not in passes:
        return ()
    options = {key: item for key, item in entry.items() if key != "name"} if isinstance(entry, dict) else {}
    try:
        return cast("tuple[str, ...]", msgspec.convert(options, passes[name]).formats)
    except (msgspec.ValidationError, ValueError):
        return ()
