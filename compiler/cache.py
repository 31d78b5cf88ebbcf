"""The stage cache: what a stage wrote is kept under a key of everything that decided it.

A key is a SHA-256 over the stage's inputs, the versions of the packages it uses, and our own source code of that stage,
so neither an upgrade nor a change in this project serves an old result.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compiler import records
from compiler.storage import digest, locked, staging

R = TypeVar("R", bound=msgspec.Struct)

HERE = Path(__file__).parent


def cache_folder() -> Path:
    """`$TRANSFORMER_COMPILER_CACHE`, or `transformer-compiler` in the user's cache folder."""
    if chosen := os.environ.get("TRANSFORMER_COMPILER_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "transformer-compiler"


def key(*parts: Any, code: tuple[str, ...], packages: tuple[str, ...] = ()) -> str:
    """A name for what is made from `parts` by the modules `code` (paths within the package) with `packages`."""
    total = hashlib.sha256(msgspec.json.encode(parts, order="deterministic"))
    for name in code:
        path = HERE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(file.read_bytes())
    for name in packages:
        total.update(f"{name}={_version(name)}\n".encode())
    return total.hexdigest()[:32]


def folder_key(folder: Path) -> str:
    """A name for everything in a folder that a stage wrote and a user may have touched."""
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    return key([(str(path.relative_to(folder)), digest(path)) for path in names], code=())


def stage(
    folder: Path, record_name: str, kind: type[R], make: Callable[[Path], R], started: Callable[[bool], None]
) -> R:
    """The record in `folder`, made by `make(staging folder)` unless it is already there.

    Two processes that want the same thing make it once: the second waits and takes the first's result. `started` is
    told whether it comes from the cache.
    """
    if not (folder / record_name).exists():
        with locked(folder):
            if not (folder / record_name).exists():
                started(False)
                with staging(folder, record_name) as out:
                    made = make(out)
                    records.save(made, out / record_name)
                return made
    started(True)
    return records.load(folder / record_name, kind)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
