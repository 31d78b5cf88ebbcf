"""Where checkpoints lie on this machine, by their digests: a bundle names its model, not the builder's folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from compiler import storage
from compiler.checkpoint.adapter import find
from compiler.checkpoint.join import join
from compiler.checkpoint.resolve import Checkpoint, resolve
from compiler.errors import CheckpointError
from compiler.reading import read_json
from compiler.records import Manifest, Source

FOLDER = "origins"  # within the cache


class Origin(msgspec.Struct, frozen=True):
    """`location` is an absolute path, or the id of a hub."""

    location: str


def remember(checkpoint: Checkpoint, cache: Path) -> None:
    """Keep where a checkpoint and its adapters were found, for a later look at their bundle.

    Raises:
        StorageError: the cache cannot be written.
    """
    adapters = [(each.source, each.location) for each in checkpoint.adapters]
    if checkpoint.compiled_in and checkpoint.source.adapter:
        adapters.append((checkpoint.source.adapter, checkpoint.compiled_in))
    for source, location in [(checkpoint.source, checkpoint.location), *adapters]:
        known = location if source.kind == "hub" else str(Path(location).expanduser().absolute())
        storage.write_whole(_file(source, cache), msgspec.json.encode(Origin(location=known)))


def reopen(manifest: Manifest, reference: str | None, adapters: Sequence[str], cache: Path) -> Checkpoint:
    """What a bundle was built from, adapters included.

    Args:
        reference: where the base is now; None is where it was found last.
        adapters: where adapters are now, each `PATH` or, where they are apart, `NAME=PATH`; others as the base.

    Raises:
        CheckpointError: the base or an adapter is gone, damaged, or not what the bundle was built from.
    """
    source = manifest.source
    revision = None if reference else source.revision
    location = reference or _found(source, cache, "--reference PATH")
    checkpoint = resolve(location, task=manifest.task, revision=revision, cache=cache)
    found = join(checkpoint, find(_adapters(manifest, adapters, cache)), cache)
    if found.source.digest != source.digest:
        raise CheckpointError(
            f"{location}: not the checkpoint that the bundle was built from",
            found=f"digest {found.source.digest[:16]}...",
            expected=f"digest {source.digest[:16]}...",
            action="name the original with --reference, or build again",
        )
    for adapter, now in zip(manifest.adapters, found.adapters, strict=True):
        if adapter.source.digest != now.source.digest:
            raise CheckpointError(
                f'{now.location}: not the adapter "{adapter.name}" that the bundle was built with',
                found=f"digest {now.source.digest[:16]}...",
                expected=f"digest {adapter.source.digest[:16]}...",
                action=f"name the original with --adapter {adapter.name}=PATH, or build again",
            )
    return found


def _adapters(manifest: Manifest, given: Sequence[str], cache: Path) -> list[str]:
    """The manifest's adapters in its order, as `find` takes them."""
    if compiled_in := manifest.source.adapter:
        return list(given) or [_found(compiled_in, cache, "--adapter PATH")]
    known = {name: path for name, _, path in (each.partition("=") for each in given) if path}
    names = [each.name for each in manifest.adapters]
    if strangers := [each for each in given if each.partition("=")[0] not in names or "=" not in each]:
        raise CheckpointError(
            f"--adapter {strangers[0]}: no adapter of this bundle",
            expected=", ".join(f"{name}=PATH" for name in names) or "none: it was built without adapters",
        )
    return [
        f"{each.name}={known.get(each.name) or _found(each.source, cache, f'--adapter {each.name}=PATH')}"
        for each in manifest.adapters
    ]


def _found(source: Source, cache: Path, option: str) -> str:
    """Where something was found last. Raises CheckpointError where that is not known, or where nothing is there now."""
    if source.kind == "hub":
        return source.name
    try:
        origin = read_json(_file(source, cache), Origin, CheckpointError)
        if os.path.exists(origin.location):  # a name that no file system takes names nothing
            return origin.location
        found = f"it was at {origin.location}, where nothing is now"
    except CheckpointError:
        found = "a bundle that was built on another machine, or with another cache"
    raise CheckpointError(
        f'"{source.name}": where it lies on this machine is not known',
        found=found,
        expected=f"the {'file' if source.kind == 'gguf' else 'folder'} with digest {source.digest[:16]}...",
        action=f"name it with {option}",
    )


def _file(source: Source, cache: Path) -> Path:
    return cache / FOLDER / f"{source.digest[:32]}.json"
