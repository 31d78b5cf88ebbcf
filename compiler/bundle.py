"""The folder that a build leaves behind: `manifest.json` and every file that it vouches for."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from compiler.errors import IntegrityError
from compiler.records import SCHEMA_VERSION, Built, FileEntry, Manifest, Optimized, load, save
from compiler.storage import digest

MANIFEST = "manifest.json"
CERTIFICATE = "certificate.json"


def manifest_of(optimized: Optimized, built: Built) -> Manifest:
    """The manifest of an engine, before its files are counted."""
    exported = optimized.exported
    adapted = tuple(tensor for tensor in optimized.inputs if tensor.name.startswith("adapter."))
    return Manifest(
        source=exported.source,
        task=exported.task,
        kind=exported.kind,
        architecture=exported.architecture,
        model_type=exported.model_type,
        profile=optimized.profile,
        precision=optimized.precision,
        engine=built.engine,
        engine_version=built.engine_version,
        model=built.model,
        options=built.options,
        inputs=tuple(tensor for tensor in optimized.inputs if tensor not in adapted),
        adapter_inputs=adapted,
        outputs=optimized.outputs,
        context_length=min(exported.context_length, (optimized.cache and optimized.cache.capacity) or sys.maxsize),
        vocabulary=exported.vocabulary,
        parameters=exported.parameters,
        versions=exported.versions,
        files={},
        cache=optimized.cache,
        pooling=exported.pooling,
        activation=exported.activation,
        encoder=optimized.encoder,
        token_rows=exported.token_rows,
        adapters=exported.adapters,
        plans=built.plans,
    )


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Record size and SHA-256 of every file under `folder` in `manifest.files` and write it as manifest.json.

    Raises:
        IntegrityError: the folder holds a link or a special file, or lacks the model.
    """
    files = {
        name: FileEntry(sha256=digest(folder / name), size=(folder / name).stat().st_size)
        for name in sorted(_walk(folder))
    }
    sealed = msgspec.structs.replace(manifest, files=files)
    _refuse_hostile(folder, sealed)
    save(sealed, folder / MANIFEST)
    return sealed


def read(folder: Path) -> Manifest:
    """The manifest, without a look at the other files.

    Raises:
        IntegrityError: there is none, or it is not one this version can trust.
    """
    manifest = load(folder / MANIFEST, Manifest)
    if manifest.schema_version != SCHEMA_VERSION:
        raise IntegrityError(
            f"{folder / MANIFEST}: another version of the format",
            found=str(manifest.schema_version),
            expected=str(SCHEMA_VERSION),
            action="rebuild the bundle, or use the release that built it",
        )
    _refuse_hostile(folder, manifest)
    return manifest


def verify(folder: Path) -> Manifest:
    """Compare every file with the manifest.

    Raises:
        IntegrityError: names all files that were changed, are missing or were added.
    """
    manifest = read(folder)
    present = set(_walk(folder))
    listed = manifest.files
    changed = [name for name in sorted(present & set(listed)) if not _same(folder / name, listed[name])]
    findings = {
        "changed": changed,
        "missing": sorted(set(listed) - present),
        "added": sorted(present - set(listed)),
    }
    if any(findings.values()):
        raise IntegrityError(
            f"{folder}: not what was built",
            found="; ".join(f"{what}: {', '.join(names)}" for what, names in findings.items() if names),
            expected=f"the {len(listed)} files of {MANIFEST}, unchanged",
            action="copy the bundle again, or rebuild it",
        )
    return manifest


def _same(path: Path, entry: FileEntry) -> bool:
    return path.stat().st_size == entry.size and digest(path) == entry.sha256


def _refuse_hostile(folder: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        path = PurePosixPath(name)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in name
            or "\0" in name
            or str(path) != name
            or not path.parts
        ):
            raise IntegrityError(
                f"{folder / MANIFEST}: a file name leads elsewhere",
                found=repr(name),
                expected="a path within the bundle",
                action="do not use this bundle",
            )
    if manifest.model not in manifest.files:
        raise IntegrityError(
            f"{folder / MANIFEST}: its model is not among its files",
            found=manifest.model,
            expected=", ".join(manifest.files),
            action="rebuild the bundle",
        )


def _walk(folder: Path) -> Iterator[str]:
    """Names of all files but the manifest, relative, with "/"; links are never followed."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            relative = path.relative_to(folder).as_posix()
            if not stat.S_ISREG(mode):
                raise IntegrityError(
                    f"{path}: not a plain file",
                    found="a symbolic link" if stat.S_ISLNK(mode) else "a special file",
                    expected="files and folders only",
                    action="replace it with what it stands for, or rebuild the bundle",
                )
            if relative != MANIFEST:
                yield relative
