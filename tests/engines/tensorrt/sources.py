"""What the modules of the TensorRT engine use by name, read from their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "compiler" / "engines" / "tensorrt"
MODULES = sorted(PACKAGE.rglob("*.py"))
TYPES = ("api.py", "objects.py")  # they declare names and use none

_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+")  # what a flag may be looked up by
_TAKES_ENUMERATOR = {"create_network", "set_flag", "clear_flag", "get_flag", "set_memory_pool_limit"}


def used(source: str) -> dict[str, int]:
    """Attributes, and what could be looked up with getattr, each with the first line that has it."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            found.setdefault(node.attr, node.lineno)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _CONSTANT.fullmatch(node.value):
            found.setdefault(node.value, node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant):
                found.setdefault(name.value, node.lineno)
    return found


def unguarded(source: str, guards: Mapping[str, str]) -> dict[str, str]:
    """Attributes that are used where the string that guards them, as in `hasattr(engine, "...")`, is not."""
    nodes = list(ast.walk(ast.parse(source)))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    strings = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {name: guard for name, guard in guards.items() if name in attributes and guard not in strings}


def integers(source: str, enumerations: frozenset[str]) -> Iterator[str]:
    """Every place where an integer stands for a member of one of these enumerations."""
    for node in ast.walk(ast.parse(source)):
        shifted = isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift) and _integer(node.right)
        called = (
            isinstance(node, ast.Call)
            and any(map(_integer, node.args[:1]))
            and _called(node) & (enumerations | _TAKES_ENUMERATOR)
        )
        if shifted or called:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def callbacks(source: str) -> Iterator[tuple[str, str, int]]:
    """TensorRT's class, method and number of arguments of all that TensorRT calls here."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("trt.") for base in node.bases):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    yield ast.unparse(node.bases[0]).removeprefix("trt."), method.name, len(method.args.args) - 1


def _called(node: ast.Call) -> set[str]:
    return {ast.unparse(node.func).rsplit(".", 1)[-1]}


def _integer(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)
