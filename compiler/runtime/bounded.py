"""Limits for chat templates: a checkpoint's template is a program, and a hostile one must end soon and stay small.

Steps (turns of loops, calls of macros), time, ranges, powers, repetitions, widths and the prompt are bounded. Not
bounded is a text that a few steps make out of itself with filters, or a list that holds itself many times.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

STEPS = 1_000_000
SECONDS = 4.0
LONGEST = 32 << 20  # characters of a prompt, and of a text that is repeated or added to
WIDEST = 100_000  # of numbers handed to filters and methods: widths, indents, counts
DIGITS = 4096  # bits of a power

# A width or precision in a format, or one that is an argument.
_WIDE = re.compile(r"\{[^{}]*:[^{}]*(\d{6}|\{)|%[-+ #0]*(\*|[\d.]*\d{6}|[\d.]*\.\*)")
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})  # methods
_COUNTING = frozenset({"batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap"})  # filters
_left: ContextVar[list[float]] = ContextVar("left")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with these limits; what is beyond them is a `SecurityError`."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in (*_COUNTING, "format", "replace", "join"):
            self.filters[name] = narrow(name, self.filters[name])

    def bounded(self, source: str) -> Callable[..., str]:
        """A template's `render`."""
        template = self.from_string(source)

        def render(**shown: Any) -> str:
            token = _left.set([STEPS, time.monotonic() + SECONDS])
            try:
                return _joined(template.generate(**shown))
            finally:
                _left.reset(token)

        return render

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            line = node.lineno
            call = nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None, lineno=line)
            node.body.insert(0, nodes.ExprStmt(call, lineno=line))  # type: ignore[attr-defined]
        return tree

    def step(self) -> None:
        """Count a turn of a loop or a call of a macro."""
        left = _left.get()
        left[0] -= 1
        if left[0] < 0 or time.monotonic() > left[1]:
            raise SecurityError("the template takes too long")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            whole = isinstance(left, int) and isinstance(right, int)
            if whole and right > 0 and left.bit_length() * right > DIGITS:
                raise SecurityError("a power is too large")
        elif operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(times, int) and len(one) * times > LONGEST:
                    raise SecurityError("a text or list is repeated too often")
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > DIGITS:
                raise SecurityError("a product is too large")
        elif operator == "%" and isinstance(left, str):
            _require_narrow(left)
        elif (
            operator == "+"
            and all(isinstance(each, str | list | tuple) for each in (left, right))
            and len(left) + len(right) > LONGEST
        ):
            raise SecurityError("a text or list is too long")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **named: Any) -> Any:
        own = getattr(obj, "__self__", None)
        if isinstance(own, str):
            name = getattr(obj, "__name__", "")
            if name in _PADDING:
                _require_small((*args, *named.values()))
            elif name in {"format", "format_map"}:
                _require_narrow(own)
            elif name == "replace" and len(args) > 1:
                _require_short(own, *args[:2])
            elif name == "join" and args:
                _require_joined(own, args[0])
        return super().call(context, obj, *args, **named)


def _joined(parts: Iterable[str]) -> str:
    def checked() -> Iterator[str]:
        total = 0
        for part in parts:
            total += len(part)
            if total > LONGEST:
                raise SecurityError("the prompt is too long")
            yield part

    return "".join(checked())


def narrow(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result is not much larger than what it is given."""

    @functools.wraps(function)
    def bounded(*args: Any, **named: Any) -> Any:
        value = args[1:] if hasattr(function, "jinja_pass_arg") else args
        if name in _COUNTING:
            _require_small((*value[1:], *named.values()))
        elif name == "format":
            _require_narrow(str(value[0]))
        elif name == "replace" and len(value) > 2:
            _require_short(str(value[0]), *value[1:3])
        elif name == "join" and len(value) > 1:
            _require_joined(str(value[1]), value[0])
        return function(*args, **named)

    return bounded


def _require_small(values: Iterable[Any]) -> None:
    if any(isinstance(each, int | float) and abs(each) > WIDEST for each in values):
        raise SecurityError(f"a number is larger than {WIDEST}")


def _require_narrow(pattern: str) -> None:
    if _WIDE.search(pattern.replace("{{", "").replace("}}", "")):
        raise SecurityError("a format is too wide")


def _require_short(text: str, old: Any, new: Any) -> None:
    if text.count(str(old)) * len(str(new)) > LONGEST:
        raise SecurityError("a text is too long")


def _require_joined(between: str, parts: Any) -> None:
    if isinstance(parts, list | tuple | dict | range) and len(parts) * len(between) > LONGEST:
        raise SecurityError("a text is too long")
