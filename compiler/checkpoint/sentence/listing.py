"""modules.json: the chain of modules that a text goes through, and where each of them is kept."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from compiler.checkpoint.sentence.settings import ABOUT, model_settings, transformer_settings
from compiler.checkpoint.weights import LONGEST_NAME
from compiler.errors import CheckpointError
from compiler.reading import read_json

LIST = "modules.json"
TASKS = {"SentenceTransformer": "feature-extraction", "CrossEncoder": "text-classification"}  # by its model_type


class Listed(NamedTuple):
    """A module: the name of its class, and its folder."""

    kind: str
    folder: Path


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    type: str
    idx: int | None = None
    name: str | None = None
    kwargs: list[str] = []  # names of arguments of encode() that the module is given


def modules(folder: Path) -> list[Listed]:
    """The modules in their order; [] where the folder lists none.

    Raises:
        CheckpointError: the list is damaged, leads out of the folder, or names classes that are not the library's own.
    """
    path = folder / LIST
    if not path.exists():
        return []
    entries = read_json(path, list[_Entry], CheckpointError)
    names = [entry.name for entry in entries if entry.name is not None]
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path}: two modules have one name", found=", ".join(names))
    return [_vetted(folder, entry) for entry in entries]


def _vetted(folder: Path, entry: _Entry) -> Listed:
    inside = PurePosixPath(entry.path)
    hidden = any(part.startswith(".") for part in inside.parts)  # ".." too; digests leave them out
    strange = inside.is_absolute() or hidden or "\\" in entry.path or "\0" in entry.path
    if strange or len(entry.path.encode()) > LONGEST_NAME:
        raise CheckpointError(f"{folder / LIST}: a module lies elsewhere", found=repr(entry.path)[:80])
    package, _, kind = entry.type.rpartition(".")
    if package.split(".")[0] != "sentence_transformers":
        raise CheckpointError(
            f"{folder / LIST}: a module brings code of its own, which is never run",
            found=entry.type,
            expected="modules of sentence-transformers",
        )
    if entry.kwargs:
        raise CheckpointError(f"{folder / LIST}: {kind} takes arguments of a call", found=", ".join(entry.kwargs))
    if (kind == "Transformer") != (not inside.parts):
        raise CheckpointError(
            f"{folder / LIST}: {kind} lies in an unexpected place",
            found=repr(entry.path),
            expected="the Transformer in the folder itself, every other module in a folder of its own",
            action="save the model again with sentence-transformers",
        )
    return Listed(kind, folder / entry.path)


def task_of(folder: Path) -> str | None:
    """The task of the class that saved a folder; None where it lists no modules.

    Raises:
        CheckpointError: no task is made of such a model, a sparse encoder for instance.
    """
    if not (folder / LIST).exists():
        return None
    declared = model_settings(folder).model_type
    if declared is None:
        ranks = transformer_settings(folder).transformer_task == "sequence-classification"
        declared = "CrossEncoder" if ranks else "SentenceTransformer"
    if declared not in TASKS:
        raise CheckpointError(
            f"{folder / ABOUT}: a {declared} cannot be compiled", found=declared, expected=" or ".join(TASKS)
        )
    return TASKS[declared]


def copy_folders(folder: Path, out: Path) -> None:
    """Copy the folders of all modules but the Transformer's, which is the folder itself."""
    for module in modules(folder):
        if module.kind != "Transformer" and module.folder.is_dir():
            shutil.copytree(module.folder, out / module.folder.relative_to(folder))


def read_module(module: Listed, kind: type[Any]) -> Any:
    """A module's config.json as the structure `kind`. Raises CheckpointError, also where it is missing."""
    path = module.folder / "config.json"
    if not path.exists():
        raise CheckpointError(
            f"{module.folder}: the settings of {module.kind} are missing",
            expected="config.json",
            action="download the whole checkpoint",
        )
    return read_json(path, kind, CheckpointError)
