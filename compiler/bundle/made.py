"""A bundle while it is made: its manifest, its files, its seal."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from compiler import inventory, records
from compiler.bundle.opened import read, refuse_hostile
from compiler.bundle.parts import ADAPTERS, DIGEST, EXPORTED, MANIFEST, UNLISTED
from compiler.errors import IntegrityError, UsageError
from compiler.records import Built, Manifest, Optimized, graph_files
from compiler.storage import recover, require_writable


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
        padding=exported.padding,
        adapters=exported.adapters,
        plans=built.plans,
    )


def assemble(
    out: Path, portable: Path, optimized: Optimized, built: Built, *, leave_out: Collection[str] = ()
) -> Manifest:
    """Make a bundle without a certificate of the folder `out` that holds an engine.

    Args:
        out: the engine's folder, which gets the files of the portable model's folder (tokenizer, settings, adapters)
            but the graphs, and the manifest.
        portable: the portable model's folder.
        optimized: the record of the lowered model that the engine was built from.
        built: the engine's record.
        leave_out: names of other files of `portable` that are not the model's.
    """
    graphs = graph_files(optimized.exported)
    for path in portable.iterdir():
        if path.is_file() and path.name not in (EXPORTED, *leave_out) and not path.name.startswith(graphs):
            shutil.copyfile(path, out / path.name)
    if optimized.exported.adapters:
        shutil.copytree(portable / ADAPTERS, out / ADAPTERS)
    return seal(out, manifest_of(optimized, built))


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Record size and SHA-256 of every file under `folder` in `manifest.files`; write manifest.json and its digest.

    Raises:
        IntegrityError: the folder holds a link or a special file, or lacks a file that the manifest names.
    """
    sealed = msgspec.structs.replace(manifest, files=inventory.take(folder, leave_out=UNLISTED))
    refuse_hostile(folder, sealed)
    write_manifest(folder, sealed)
    return sealed


def require_place(out: Path) -> None:
    """Refuse a folder for a bundle that holds anything which no build wrote: replacing it would lose that.

    A damaged bundle may be replaced. `storage.staging` asks again for `DIGEST` when it replaces the folder.

    Raises:
        UsageError: names what is in the way.
        StorageError: nothing can be written there.
    """
    recover(out)
    strange = ""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        strange = "a file or a link"
    elif (out / DIGEST).is_file():
        with suppress(IntegrityError):
            strange = ", ".join(sorted({*inventory.names(out, leave_out=UNLISTED)} - {*read(out).files})[:3])
    elif out.is_dir() and any(out.iterdir()):
        strange = "a folder that no build wrote"
    if strange:
        raise UsageError(
            f"{out} is in the way",
            found=strange,
            expected="nothing, an empty folder, or a bundle and nothing else",
            action="choose another place with --out, or remove it yourself",
        )
    require_writable(out)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, and manifest.sha256 beside it in the form that `sha256sum --check` reads."""
    content = records.encode(manifest)
    (folder / MANIFEST).write_bytes(content)
    (folder / DIGEST).write_text(f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n", encoding="ascii")
