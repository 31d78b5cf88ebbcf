"""The first stage: what the user named, found, vetted, and joined with its adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.cache import telling
from compiler.errors import UsageError
from compiler.progress import Event, Progress, warn
from compiler.storage import cache_folder, require_cache

if TYPE_CHECKING:
    from compiler.checkpoint import Checkpoint
    from compiler.request import ModelRequest


def run(request: ModelRequest, progress: Progress) -> Checkpoint:
    """The checkpoint that a request names. Raises CheckpointError, UsageError."""
    from compiler.checkpoint import adapter, resolve
    from compiler.checkpoint.join import attach
    from compiler.checkpoint.origins import remember

    require_cache()
    progress(Event("checkpoint", request.model))
    if request.adapter_base and not request.adapters:
        raise UsageError("--adapter-base without an adapter", expected="--adapter PATH", action="name one, or drop it")
    found = adapter.find(request.adapters)
    with telling(warn(progress, "checkpoint")):
        checkpoint = resolve(
            request.model,
            task=request.task or adapter.task_of(found),
            revision=request.revision,
            allow_pickle=request.allow_pickle,
            cache=cache_folder(),
        )
        attached = attach(checkpoint, found, request.adapter_base, cache_folder())
    remember(attached, cache_folder())
    return attached
