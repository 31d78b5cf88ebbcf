"""Schemas of Python functions beside those that transformers makes."""

from __future__ import annotations

import contextlib
import json
import typing
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from transformers.utils import get_json_schema
from transformers.utils.chat_template_utils import DocstringParsingException, TypeHintParsingException

from compiler.errors import InputError
from compiler.runtime.functions import schema_of


class Unit(Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"
    NONE = None


class Empty(Enum):
    pass


class Odd(Enum):
    ONE = (1, 2)


OLD, OLD_DICT, OLD_TUPLE, OLD_UNION, OLD_OPTIONAL = (
    getattr(typing, name) for name in ("List", "Dict", "Tuple", "Union", "Optional")
)
HINTS = [
    int, float, str, bool, None, Any, list, tuple, dict, OLD, OLD_DICT, OLD_TUPLE, list[int], OLD[str],
    list[OLD[float]], dict[str, int], OLD_DICT[str, list[int]], tuple[int, str], OLD_TUPLE[int, ...], tuple[int],
    tuple[int, ...], OLD_OPTIONAL[int], int | None, OLD_UNION[int, str], int | str | None, OLD_UNION[list, tuple],
    list[int] | str, int | Literal["a"], Literal["a", "b"], Literal[1, "b", None], Literal[True, 1], Unit, Unit | None,
    Empty, Odd, Annotated[int, "a remark"], OLD_OPTIONAL[OLD[int] | dict[str, Any]], list[Unit], bytes, set, set[int],
    object, Callable, type, complex, "int", "list[str] | None", ..., dict[str, bytes],
]  # fmt: skip


def of_type(hint: Any, answer: Any = None) -> Callable[..., Any]:
    def tool(value: Any, other: int = 1) -> None:
        """A tool.

        Args:
            value: the value
            other: another
        """

    tool.__annotations__ = {"value": hint, "other": int, **({"return": answer} if answer is not None else {})}
    return tool


_HEAD, _TABS = "A tool.\n\nArgs:\n    ", "A tool.\n\nArgs:\n\t"
DOCSTRINGS = [
    _HEAD + "value: the value\n    other: another",
    "A tool\nof two lines.\n\nAnd more.\n\n  Args:\n  value: the value\n  other: another\n",
    _HEAD + "value: the\n        value,\n\n      of three lines\n    other: another\n\nReturns:\n    a: b\n    both",
    _HEAD + "value:\n        on a line of its own\n    other: another: with a colon",
    _HEAD + 'value: the value (choices: ["a", " b", 3])\n    other: x (Choices: [1])  \n\nRaises:\n    none',
    _HEAD + "value: the value (choices: [1]) or not\n    other: another\n\nRaises:\n    E: no\n\nReturns:\n    x",
    _TABS + "value: tabs\n\t\tname: deeper\n\tother: another\n\nReturns: on the same line",
    _HEAD + "not an entry\n    value: see Returns: there\n    other: another",
    "A tool.\n\nReturns:\n    first\n\nArgs:\n    value: the value\n    other: another",
    "Args:\n    value: the value\n    other: another",
    _HEAD + "value (int): the value\n    other: another",
    _HEAD + "value: the value",
    _HEAD + "value: the value\n    other:",
    "A tool.\n\nArguments:\n    value: the value\n    other: another",
    _HEAD + "value: x (choices: nothing)\n    other: another",
    "A tool. Args: value.\n\nArgs:\n    value: the value\n    other: another\n    more: not an argument",
    "  ",
    "",
]


def with_text(text: str) -> Callable[..., Any]:
    def tool(value: int, other: str = "") -> int:
        return value

    tool.__doc__ = text
    return tool


class Tools:
    def method(self, value: int) -> None:
        """A method.

        Args:
            value: the value
        """

    @classmethod
    def of_class(cls, value: int) -> None:
        """A method of the class.

        Args:
            value: the value
        """

    @staticmethod
    def of_none(value: int, *rest: str, only: bool, **more: float) -> list[int]:
        """A function.

        Args:
            value: the value
            rest: others
            only: by name
            more: by name, of any
        """
        return [value]


def without_hint(value, other: int) -> None:  # type: ignore[no-untyped-def]
    """A tool.

    Args:
        value: the value
        other: another
    """


def without_arguments() -> dict[str, int]:
    """A tool.

    Returns:
        numbers
    """
    return {}


def unresolved(value: Nothing) -> None:  # type: ignore[name-defined]  # noqa: F821
    """A tool.

    Args:
        value: the value
    """


FUNCTIONS = [
    *map(of_type, HINTS),
    *(of_type(int, hint) for hint in HINTS),
    *map(with_text, DOCSTRINGS),
    *(Tools().method, Tools.method, Tools.of_class, Tools.of_none),
    *(without_hint, without_arguments, unresolved, lambda value: value),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_schema_is_that_of_transformers(function: Callable[..., Any]) -> None:
    try:
        theirs = get_json_schema(function)
    except (TypeHintParsingException, DocstringParsingException, NameError, TypeError, ValueError):
        with pytest.raises(InputError, match="tools: the function"):
            schema_of(function)
    else:
        assert json.dumps(schema_of(function)) == json.dumps(theirs)  # in the same order


def test_most_of_these_have_one() -> None:
    """The comparison above is not one of refusals."""
    counted = 0
    for function in FUNCTIONS:
        with contextlib.suppress(InputError):
            counted += bool(schema_of(function))
    assert counted > 2 * (len(FUNCTIONS) - counted)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (with_text(""), "no docstring"),
        (without_hint, "no type hint of value"),
        (with_text("A tool.\n\nArgs:\n    value: x"), "no description of other"),
        (of_type(bytes), "bytes"),
        (of_type(Empty), "the values []"),
        (unresolved, "name 'Nothing' is not defined"),
    ],
)
def test_what_a_function_lacks_is_named(function: Callable[..., Any], found: str) -> None:
    with pytest.raises(InputError, match=function.__name__) as caught:
        schema_of(function)
    assert found in caught.value.found
    assert caught.value.expected
