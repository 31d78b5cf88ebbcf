"""A value from TOML against a type: every mistake in it, each with its path."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from compiler.errors import did_you_mean
from compiler.records import PassChoice
from compiler.validation.passes import Field, known_passes, options_of


class Mistake(NamedTuple):
    path: str
    message: str
    suggestion: str = ""


def walk(expected: Any, value: Any, path: str) -> Iterator[Mistake]:
    """Mistakes of `value` (at `path`) against a type."""
    if get_origin(expected) is UnionType:  # what may be left out
        expected = next(part for part in get_args(expected) if part is not type(None))
    if expected is PassChoice:
        yield from _pass(value, path)
    elif isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        yield from _table(_fields(expected), value, path, "key")
    elif get_origin(expected) is tuple and get_args(expected)[-1] is Ellipsis and isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(get_args(expected)[0], item, f"{path}[{index}]")
    elif get_origin(expected) is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from walk(get_args(expected)[1], item, f"{path}.{key}")
    elif get_origin(expected) is Literal and isinstance(value, str) and isinstance(get_args(expected)[0], str):
        yield from known(path, value, get_args(expected), "value")
    else:
        yield from _convert(expected, value, path)


def known(path: str, value: Any, words: Iterable[str], noun: str) -> Iterator[Mistake]:
    """A mistake where `value` is a word, but none of `words`."""
    if isinstance(value, str) and value not in words:
        yield Mistake(path, f'unknown {noun} "{value}"', nearest(value, words, "known are"))


def nearest(word: str, words: Iterable[str], lead: str) -> str:
    """The word that was probably meant, or all of them."""
    return did_you_mean(word, words) or f"{lead} {', '.join(sorted(words)) or 'none'}"


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, Field]:
    return {field.encode_name: Field(field.type, field.required) for field in msgspec.structs.fields(kind)}


def _table(fields: Mapping[str, Field], value: Any, path: str, noun: str) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield Mistake(path, f"expected a table, found {value!r}")
        return
    for key, item in value.items():
        if key in fields:
            yield from walk(fields[key].type, item, _join(path, key))
        else:
            yield Mistake(_join(path, key), f"unknown {noun}", nearest(key, fields, f"the {noun}s here are"))
    for key, field in fields.items():
        if field.required and key not in value:
            yield Mistake(_join(path, key), f"missing {noun}")


def _pass(value: Any, path: str) -> Iterator[Mistake]:
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str):
        yield Mistake(path, f"expected a pass name or a table with a name, found {value!r}")
        return
    if (passes := known_passes()) is None:
        return
    if name not in passes:
        yield Mistake(path, f'unknown pass "{name}"', nearest(name, passes, "the passes are"))
        return
    options = {key: item for key, item in value.items() if key != "name"} if isinstance(value, dict) else {}
    known_options = options_of(passes[name])  # type: ignore[arg-type]  # mypy takes no class for hashable
    mistakes = list(_table(known_options, options, path, "option"))
    yield from mistakes or _convert(passes[name], options, path)


def _convert(expected: Any, value: Any, path: str) -> Iterator[Mistake]:
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        yield Mistake(path, str(error), f"found {value!r}")
        return
    if isinstance(value, float) and not math.isfinite(value):
        yield Mistake(path, "not a finite number", "leave the key out for no limit")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
