"""A Python function as a tool: its JSON schema, equal to what `transformers.utils.get_json_schema` makes.

Types come from its hints, descriptions from a docstring in Google's style. A template prints the schema, so its keys
stand in the same order as there.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from compiler.errors import InputError

Schema = dict[str, Any]

SCALARS: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
PLAIN: dict[Any, str] = {**SCALARS, list: "array", tuple: "array", dict: "object"}
MEDIA = {("torch", "Tensor"): "audio", ("PIL.Image", "Image"): "image"}  # by name: neither is needed here
SUPPORTED = "int, float, str, bool, None, Any, Enum and Literal, and list, tuple[X, Y], dict and Union of these"

_ENTRY = re.compile(r"([ \t]*)(\w+):(.*)")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


def is_function(tool: Any) -> bool:
    return inspect.isfunction(tool) or inspect.ismethod(tool)


def schema_of(function: Callable[..., Any]) -> Schema:
    """The schema of a function or method.

    Raises:
        InputError: it has no docstring, or an argument has no hint, no description, or a type that no schema has.
    """
    subject = f"tools: the function {function.__name__}"
    text = (inspect.getdoc(function) or "").strip()
    if not text:
        raise InputError(subject, found="no docstring", expected="one that describes it and each argument")
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError) as error:
        raise InputError(subject, found=str(error), expected="type hints that can be resolved") from error
    arguments = list(inspect.signature(function).parameters.values())
    if arguments and arguments[0].name in {"self", "cls"} and arguments[0].annotation is inspect.Parameter.empty:
        del arguments[0]
    described = _descriptions(text)
    for each in arguments:
        lacking = "type hint" if each.name not in hints else "" if each.name in described else "description"
        if lacking:
            expected = f'"{each.name}: ..." below "Args:" in the docstring' if lacking == "description" else SUPPORTED
            raise InputError(subject, found=f"no {lacking} of {each.name}", expected=expected)
    try:
        properties = {
            name: _described(_type(hint), described[name]) for name, hint in hints.items() if name != "return"
        }
    except ValueError as error:
        raise InputError(subject, found=str(error), expected=SUPPORTED, action="or give the JSON schema") from error
    parameters: Schema = {"type": "object", "properties": properties}
    if required := [each.name for each in arguments if each.default is inspect.Parameter.empty]:
        parameters["required"] = required
    whole = {"name": function.__name__, "description": _before(text, "Args:|Returns:|Raises:")}
    return {"type": "function", "function": {**whole, "parameters": parameters, **_returned(hints, text)}}


def _returned(hints: dict[str, Any], text: str) -> Schema:
    """The answer's part; left out where there is no schema for it, as the model never writes it."""
    try:
        made = _type(hints["return"])
    except (KeyError, ValueError):
        return {}
    header = re.search(r"\n\s*Returns:\n", text)
    return {"return": made | ({"description": _before(text[header.end() :], "Raises:")} if header else {})}


def _type(hint: Any) -> Schema:
    """The schema of a type. Raises ValueError where there is none."""
    kind, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if kind is None and isinstance(hint, type):
        if issubclass(hint, Enum):
            return _choice([member.value for member in hint])
        if name := PLAIN.get(hint) or MEDIA.get((hint.__module__, hint.__qualname__)):
            return {"type": name}
    elif kind in {Union, types.UnionType}:
        return _union([_type(each) for each in inner if each is not type(None)]) | (
            {"nullable": True} if type(None) in inner else {}
        )
    elif kind is Literal:
        return _choice(inner)
    elif kind is list:
        return {"type": "array"} | ({"items": _type(inner[0])} if inner else {})
    elif kind is tuple and len(inner) != 1 and ... not in inner:
        return {"type": "array"} | ({"prefixItems": [_type(each) for each in inner]} if inner else {})
    elif kind is dict:
        return {"type": "object"} | ({"additionalProperties": _type(inner[1])} if inner else {})
    raise ValueError(f"the type {hint}")


def _union(parts: list[Schema]) -> Schema:
    if len(parts) == 1:
        return parts[0]
    if all(part.keys() == {"type"} and isinstance(part["type"], str) for part in parts):
        names = sorted({part["type"] for part in parts})
        return {"type": names[0] if len(names) == 1 else names}
    return {"anyOf": parts}


def _choice(values: Sequence[Any]) -> Schema:
    if not values or any(type(value) not in SCALARS for value in values):
        raise ValueError(f"the values {list(values)}")
    names = list(dict.fromkeys(SCALARS[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": list(values)}


def _described(schema: Schema, text: str) -> Schema:
    """With its description, and the choices that may stand at its end as a JSON list."""
    if found := _CHOICES.search(text):
        choices = json.loads(found[1])
        schema = schema | {"enum": [each.strip() if isinstance(each, str) else each for each in choices]}
        text = text[: found.start()].strip()
    return schema | {"description": text}


def _descriptions(text: str) -> dict[str, str]:
    """Of each argument, from the lines below "Args:"; deeper lines, and those without a name, go on with the last."""
    header = re.search(r"\n\s*Args:\n", text)
    lines = re.split("Returns:|Raises:", text[header.end() :], maxsplit=1)[0].splitlines() if header else []
    said: dict[str, list[str]] = {}
    indent, last = None, None
    for line in filter(str.strip, lines):
        entry = _ENTRY.match(line)
        if entry and (indent is None or not line.startswith((f"{indent} ", f"{indent}\t"))):
            indent, last = entry[1], [entry[3].strip()]
            said[entry[2]] = last
        elif last is not None:
            last.append(line.strip())
    return {name: " ".join(filter(None, parts)) for name, parts in said.items()}


def _before(text: str, marks: str) -> str:
    return re.split(marks, text, maxsplit=1)[0].strip()
