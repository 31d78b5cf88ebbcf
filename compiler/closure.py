"""What a module imports, directly or through others: our own files, and the packages that they use.

Found in the source, nothing is imported. An import inside a function counts, one under `TYPE_CHECKING` does not. A
string that is the whole name of a module counts, as it is what another process is told to run; in a dict it is one to
choose from, and whoever chooses names it as a root of the closure.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import NamedTuple

PACKAGE = __package__
ROOT = Path(__file__).parent
MODULE = re.compile(rf"{PACKAGE}(\.\w+)+")


class Closure(NamedTuple):
    """`files` of this package, and the top-level names of all `libraries` they import (without Python's own)."""

    files: frozenset[Path]
    libraries: frozenset[str]


def closure(*modules: str) -> Closure:
    """The import closure of some of our modules, by dotted name.

    Of the packages that a module lies in, what Python executes on the way to it counts: their imports outside of
    functions. The outermost counts for nothing: it only offers names of others.
    """
    seen: set[tuple[Path, bool]] = set()
    libraries: set[str] = set()
    waiting = list(modules)
    while waiting:
        for path, whole in files(waiting.pop()):
            if (path, whole) not in seen:
                seen.add((path, whole))
                ours, others = _imports(path, whole)
                waiting += ours
                libraries |= others
    return Closure(frozenset(path for path, _ in seen), frozenset(libraries))


@functools.cache
def fingerprint(*modules: str) -> str:
    """SHA-256, in hex, of all that these modules execute: their closure's source, its packages' versions, Python's."""
    found = closure(*modules)
    total = hashlib.sha256(sys.version.encode())
    for path in sorted(found.files):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    distributions = _distributions()
    for name in sorted({each for library in found.libraries for each in distributions.get(library, [library])}):
        total.update(f"{name}={_version(name)}\n".encode())
    return total.hexdigest()


def imported(path: Path, *, whole: bool = True, programs: bool = False) -> Iterator[str]:
    """Every dotted name that a file of this package imports, relative imports resolved.

    `from a import b` gives "a.b", which may be a module or a name in one. `whole=False` leaves functions out;
    `programs` adds the modules that are named in strings.
    """
    package = [PACKAGE, *path.relative_to(ROOT).parts[:-1]]
    for node in _executed(ast.parse(path.read_bytes()), whole):
        if programs and isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            yield node.value
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _executed(node: ast.AST, whole: bool) -> Iterator[ast.AST]:
    """All nodes below, without tables, what only a type checker reads, and functions unless `whole`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Dict) or (not whole and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            continue
        yield child
        yield from _executed(child, whole)


@functools.cache
def _imports(path: Path, whole: bool) -> tuple[tuple[str, ...], frozenset[str]]:
    names = set(imported(path, whole=whole, programs=True))
    ours = tuple(sorted(name for name in names if name.startswith(f"{PACKAGE}.")))
    return ours, frozenset({name.partition(".")[0] for name in names} - {PACKAGE} - sys.stdlib_module_names)


def files(name: str) -> Iterator[tuple[Path, bool]]:
    """The files of this package that Python executes to give a dotted name, and whether it is of the file or in it."""
    packages: list[Path] = []
    place = ROOT
    for part in name.split(".")[1:]:
        if (place / f"{part}.py").is_file():
            yield place / f"{part}.py", True
            break
        place /= part
        if not (place / "__init__.py").is_file():  # a name in the package above
            yield from ((path, True) for path in packages[-1:])
            packages = packages[:-1]
            break
        packages.append(place / "__init__.py")
    else:
        yield packages.pop(), True
    yield from ((path, False) for path in packages)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {name: sorted(set(found)) for name, found in packages_distributions().items()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
