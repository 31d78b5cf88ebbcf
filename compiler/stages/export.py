"""A checkpoint to a portable model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compiler import cache, records
from compiler.bundle import EXPORTED
from compiler.cache import Artifact, artifact, folder_key, telling
from compiler.folders import not_portable
from compiler.progress import Progress, begin, warn
from compiler.records import Exported
from compiler.storage import cache_folder

if TYPE_CHECKING:
    from compiler.checkpoint import Checkpoint


def key(checkpoint: Checkpoint) -> str:
    """Where it lies and what it is called there decide nothing."""
    adapters = [(each.name, each.source.digest) for each in checkpoint.adapters]
    return cache.key(checkpoint.source.digest, checkpoint.task, adapters, code=[__name__])


def run(checkpoint: Checkpoint, progress: Progress) -> Artifact[Exported]:
    """The portable model, which says of itself that it is from this checkpoint. Raises as `compiler.export.export`."""
    from compiler.checkpoint import leftover

    def make(out: Path) -> Exported:
        from compiler.export import export

        made = export(checkpoint, out)
        checkpoint.require_unchanged()
        return made

    folder = cache_folder() / "export" / key(checkpoint)
    started = begin(progress, "export", f"task {checkpoint.task}")
    with telling(warn(progress, "export")):
        made = artifact(folder, EXPORTED, Exported, make, started)
    sources = {each.name: each.source for each in checkpoint.adapters}
    adapters = tuple(msgspec.structs.replace(each, source=sources[each.name]) for each in made.record.adapters)
    unread = leftover.bounded((*made.record.unread, *leftover.files(checkpoint)))
    record = msgspec.structs.replace(made.record, source=checkpoint.source, adapters=adapters, unread=unread)
    return made._replace(record=record)


def opened(folder: Path) -> Artifact[Exported]:
    """A portable model in a folder of the user's own, who may have changed it. Raises UsageError where it is none."""
    if not (folder / EXPORTED).exists():
        raise not_portable(folder)
    return Artifact(folder, records.load(folder / EXPORTED, Exported), folder_key(folder))
