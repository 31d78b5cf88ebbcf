"""The stage cache: what a stage wrote is kept under a key of everything that decided it.

A key is a SHA-256 over the stage's inputs and over the source of everything that its module imports, with the versions
of Python and of the packages among it: neither an upgrade nor a change in this project serves an old result. Before
anything in an entry is used, it is compared with the digests that were taken when it was written; one that is damaged
is made again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from compiler import inventory, records
from compiler.closure import fingerprint
from compiler.errors import CompilerError, IntegrityError
from compiler.records import FileEntry
from compiler.storage import digest, discard, locked, staging, write_whole

R = TypeVar("R", bound=msgspec.Struct)

INDEX = "files.json"  # of an entry: sizes and digests of its other files
_INDEX = frozenset({INDEX})
_tell: ContextVar[Callable[[str], None]] = ContextVar("tell", default=lambda _: None)


def key(*parts: Any, code: Sequence[str]) -> str:
    """A name for what the modules `code` make from `parts`, which must encode as JSON."""
    total = hashlib.sha256(msgspec.json.encode(parts, order="deterministic"))
    if code:
        total.update(fingerprint(*code).encode())
    return total.hexdigest()[:32]


def folder_key(folder: Path) -> str:
    """A name for everything in a folder that a stage wrote and a user may have touched."""
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    return key([(str(path.relative_to(folder)), digest(path)) for path in names], code=[])


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every other file of an entry of the cache."""

    files: dict[str, FileEntry]
    version: int = records.SCHEMA_VERSION


class Artifact(NamedTuple, Generic[R]):
    """A stage's result, compared with what the stage wrote.

    `key` names all that decided it, `content` what it came out as: files and digests without the record, which also
    holds times. Both are "" for what is not in the cache, a bundle or a folder of a user's own.
    """

    folder: Path
    record: R
    key: str = ""
    content: str = ""


@contextmanager
def telling(tell: Callable[[str], None]) -> Iterator[None]:
    """Within the block `tell` is told of every entry that is damaged, and is made again."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


def artifact(
    folder: Path, record_name: str, kind: type[R], make: Callable[[Path], R], started: Callable[[bool], None]
) -> Artifact[R]:
    """What lies in `folder`, made by `make(staging folder)` unless it is already there, whole; its name is its key.

    Two processes that want the same thing make it once: the second waits and takes the first's result. `started` is
    told whether it comes from the cache.
    """
    found = _kept(folder, record_name, kind)
    if found is None:
        with locked(folder):
            found = _kept(folder, record_name, kind)
            if found is None:
                started(False)
                if os.path.lexists(folder):
                    _tell.get()(f"cache entry damaged ({_damage(folder)}), made again: {folder}")
                    discard(folder)
                with staging(folder, record_name) as out:
                    records.save(make(out), out / record_name)
                    seal(out)
                if (made := _kept(folder, record_name, kind)) is None:
                    raise IntegrityError(f"{folder}: changed as soon as it was written", action="look at the disk")
                return made
    started(True)
    return found


def seal(folder: Path) -> None:
    """Write the index of a folder that becomes an entry of the cache."""
    (folder / INDEX).write_bytes(msgspec.json.encode(Index(inventory.take(folder, leave_out=_INDEX, links=True))))


def intact(folder: Path) -> bool:
    """Whether an entry is there and is what was written. A damaged one is told of, and removed."""
    if not os.path.lexists(folder) or not _damage(folder):
        return os.path.lexists(folder)
    with locked(folder):
        if damage := _damage(folder):
            _tell.get()(f"cache entry damaged ({damage}), made again: {folder}")
            discard(folder)
    return not damage


def answer(path: Path, ask: Callable[[], str]) -> str:
    """A word that is asked for once, and kept in a file with its digest."""
    if path.exists():
        with suppress(OSError, ValueError):
            word, stated = path.read_text(encoding="utf-8").split("\n")
            if stated == hashlib.sha256(word.encode()).hexdigest():
                return word
        _tell.get()(f"cache entry damaged, made again: {path}")
        discard(path)
    word = ask()
    write_whole(path, f"{word}\n{hashlib.sha256(word.encode()).hexdigest()}".encode())
    return word


def _kept(folder: Path, record_name: str, kind: type[R]) -> Artifact[R] | None:
    if not os.path.lexists(folder) or _damage(folder):
        return None
    try:
        record = records.load(folder / record_name, kind)
        files = records.load(folder / INDEX, Index).files
    except (CompilerError, OSError):  # of another version
        return None
    content = [(name, entry) for name, entry in files.items() if name != record_name]
    return Artifact(folder, record, folder.name, key(content, code=[]))


def _damage(folder: Path) -> str:
    """What is wrong with an entry; "" where nothing is."""
    try:
        index = records.load(folder / INDEX, Index)
        if index.version != records.SCHEMA_VERSION:
            return f"version {index.version}"
        return inventory.differences(folder, index.files, leave_out=_INDEX, links=True)
    except (CompilerError, OSError) as error:
        return error.subject if isinstance(error, CompilerError) else str(error)
