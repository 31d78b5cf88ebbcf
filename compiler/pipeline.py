"""The stages in order. Start reading here.

    checkpoint ─export▶ portable ─optimize▶ lowered ─build▶ engine ─check▶ parity ─measure▶ speed ─seal▶ bundle

Every stage writes a folder with its record into the cache; a stage whose inputs have not changed is taken from there.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compiler import bundle, sealing, stages
from compiler import profile as profiles
from compiler.cache import INDEX
from compiler.context import checked_context, require_context
from compiler.records import Certificate, Checked, Manifest, Measured
from compiler.records.divergence import Diverged
from compiler.stages import EXPORTED, OPTIMIZED, Event, Progress, silent
from compiler.storage import cache_folder, require_cache, require_place, staging
from compiler.traffic import read as recorded
from compiler.validation import asked
from compiler.validation.ready import ready

if TYPE_CHECKING:
    from compiler.checkpoint import Checkpoint

__all__ = [
    "EXPORTED",
    "OPTIMIZED",
    "Event",
    "Progress",
    "bench",
    "bisect",
    "build",
    "cache_folder",
    "check",
    "checkpoint_of",
    "export",
    "optimize",
]


def build(
    model: str,
    *,
    profile: str = "auto",
    task: str | None = None,
    out: Path | None = None,
    revision: str | None = None,
    adapters: Sequence[str] = (),
    adapter_base: str | None = None,
    precision: str | None = None,
    context: int | None = None,
    budget: dict[str, float] | None = None,
    targets: Sequence[str] = (),
    traffic: Path | None = None,
    strict: bool = False,
    allow_pickle: bool = False,
    bench: bool = True,
    progress: Progress = silent,
) -> Path:
    """Compile a checkpoint into a bundle and certify it.

    Args:
        model: a hub id, a folder or a `.gguf` file.
        profile: a shipped profile's name, a TOML file, or "auto" for this machine's.
        task: a key of `tasks.TASKS`; None infers it.
        out: the bundle's folder; None is `artifacts/NAME` in the current folder.
        revision: of a hub id.
        adapters: PEFT adapters, each PATH (a folder or a hub id) or NAME=PATH. A single PATH is compiled in; several,
            or named ones, are LoRA kept apart in the bundle, to be chosen by name in each request.
        adapter_base: the name by which the adapters know this model, where it is stored under another.
        precision: one that the profile offers; None is its default.
        context: tokens of the longest text that is checked and promised; None is what is checked in minutes.
        budget: limits that replace the profile's, by the names of `profile.Budget`.
        targets: compute capabilities to build plans for, as in "sm89"; none means the profile's.
        traffic: a file with the length of every request that was recorded, from which the plans' shapes are made.
        strict: fail on a pass that changes answers, rather than go on without it.
        allow_pickle: read pickle weights, which can run code.
        bench: measure speed and memory beside PyTorch.
        progress: called with every step.

    Returns:
        the bundle's folder.

    Raises:
        BudgetError: answers left the budget; the bundle is written all the same, with the verdict "fail".
        CompilerError: any other error of `compiler.errors`; nothing is left behind.
    """
    from compiler.checkpoint.length import stated

    target = profiles.load(profile)
    requests = recorded(traffic) if traffic else None
    folder, changes = out or Path("artifacts") / _slug(model), budget or {}
    asked.possible(target, task=task, precision=precision, context=context, budget=changes)
    ready(target, precision=precision, targets=targets, traffic=requests)
    asked.require_outside(model, folder)
    bundle.require_place(folder)
    checkpoint = stages.run_checkpoint(
        model,
        task=task,
        revision=revision,
        allow_pickle=allow_pickle,
        adapters=adapters,
        adapter_base=adapter_base,
        progress=progress,
    )
    asked.limits(target, checkpoint.task, checkpoint.config, precision, changes)
    if context:
        require_context(context, stated(checkpoint.folder, checkpoint.task))
    traced = stages.run_export(checkpoint, progress)
    promised = checked_context(traced.record, context, lambda said: progress(Event("context", said)))
    exported = traced._replace(record=promised)
    width = promised.outputs[0].shape[-1]
    limits = asked.limits(target, promised.task, checkpoint.config, precision, changes, width=width)
    optimized = stages.run_optimize(exported, target, precision, strict=strict, progress=progress)
    built = stages.run_build(exported.folder, optimized, target, progress, targets=targets, requests=requests)
    passes = optimized.record.passes
    checked = stages.run_check(built.folder, checkpoint, limits, progress, passes=passes, identity=built.identity)
    measured = stages.run_measure(built.folder, built.identity, checkpoint.folder, progress) if bench else None
    certificate = sealing.run_seal(
        folder,
        built_in=built,
        optimized=optimized.record,
        checked=checked,
        measured=measured,
        budget=limits,
        progress=progress,
    )
    if certificate.verdict == "fail":
        error = sealing.outside(str(folder), checked)
        error.bundle = folder
        raise error
    return folder


def export(
    model: str,
    *,
    task: str | None = None,
    out: Path | None = None,
    revision: str | None = None,
    adapters: Sequence[str] = (),
    adapter_base: str | None = None,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> Path:
    """The first stage alone: a folder with the portable model and `exported.json`. Arguments as in `build`."""
    folder = out or Path("artifacts") / f"{_slug(model)}-exported"
    asked.require_outside(model, folder)
    require_place(folder, EXPORTED)
    checkpoint = stages.run_checkpoint(
        model,
        task=task,
        revision=revision,
        allow_pickle=allow_pickle,
        adapters=adapters,
        adapter_base=adapter_base,
        progress=progress,
    )
    return _copy(stages.run_export(checkpoint, progress).folder, folder, EXPORTED)


def optimize(
    exported: Path,
    *,
    profile: str = "auto",
    precision: str | None = None,
    out: Path | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> Path:
    """The second stage alone: lower the portable model in the folder `exported`. Arguments as in `build`."""
    target, entry = profiles.load(profile), stages.outside(exported)
    chosen = target.chosen([entry.record.kind], precision)
    name = exported.name.removesuffix("-exported")
    folder = out or exported.parent / f"{name}-{target.name}-{chosen}"
    require_place(folder, OPTIMIZED)
    made = stages.run_optimize(entry, target, chosen, strict=strict, progress=progress)
    return _copy(made.folder, folder, OPTIMIZED)


def check(
    bundle: Path,
    *,
    reference: str | None = None,
    adapters: Sequence[str] = (),
    budget: dict[str, float] | None = None,
    seal: bool = False,
    progress: Progress = silent,
) -> Checked:
    """Compare a bundle with PyTorch again.

    Args:
        bundle: the folder.
        reference: where the checkpoint is now; None is the hub, or where a build on this machine found it last.
        adapters: where its adapters are now, each PATH or NAME=PATH; others are where they were found last.
        budget: limits that replace those the bundle was certified with.
        seal: give the bundle a certificate of what is found, on this machine.

    Raises:
        CheckpointError: the reference is not the checkpoint that the bundle was built from, or cannot be found.
    """
    manifest, certificate = _open(bundle)
    limits = asked.limits_of(bundle, manifest, certificate, budget or {})
    checkpoint = checkpoint_of(manifest, reference, progress, adapters)
    checked = stages.run_check(bundle, checkpoint, limits, progress, manifest, passes=certificate.passes)
    if seal:
        progress(Event("seal", str(bundle)))
        sealing.seal_anew(bundle, manifest, certificate, checked, limits)
    return checked


def bisect(
    bundle: Path,
    *,
    reference: str | None = None,
    adapters: Sequence[str] = (),
    budget: dict[str, float] | None = None,
    progress: Progress = silent,
) -> Diverged:
    """Find the first layer at which a bundle's answers leave PyTorch's. Arguments as in `check`."""
    from compiler.check import bisect
    from compiler.check.steps import telling
    from compiler.checkpoint.marks import marks
    from compiler.checkpoint.reference import Reference
    from compiler.corpus import evaluation_text
    from compiler.engines import engine, open_bundle

    manifest, certificate = _open(bundle)
    limits = asked.limits_of(bundle, manifest, certificate, budget or {})
    checkpoint = checkpoint_of(manifest, reference, progress, adapters)
    progress(Event("bisect", "layer by layer"))
    runs = engine(manifest.engine)
    opened = open_bundle(bundle, manifest, manifest.options)
    with closing(opened) as session, telling(stages.report(progress, "bisect")):
        found = bisect(
            session,
            manifest,
            watch=lambda model, modules, feeds: runs.watch(bundle / model, manifest.options, modules, feeds),
            precisions=lambda model, modules: runs.precisions(bundle / model, modules),
            open_reference=functools.partial(Reference, checkpoint.reference, manifest.task),
            texts=evaluation_text(),
            budget=limits,
            tokenizer=bundle / "tokenizer.json",
            marks=marks(checkpoint.folder),
        )
    return msgspec.structs.replace(found, location=str(bundle))


def bench(
    bundle: Path, *, reference: str | None = None, adapters: Sequence[str] = (), progress: Progress = silent
) -> Measured:
    """Measure a bundle and PyTorch again on this machine. Arguments as in `check`."""
    from compiler.measure import measure

    manifest, _ = _open(bundle)
    folder = checkpoint_of(manifest, reference, progress, adapters).folder
    progress(Event("measure", "engine and PyTorch, one process each"))
    return measure(bundle, folder, progress=stages.report(progress, "measure"))


def _open(folder: Path) -> tuple[Manifest, Certificate]:
    manifest = bundle.verify(folder)
    return manifest, bundle.certificate(folder, manifest)


def checkpoint_of(
    manifest: Manifest, reference: str | None, progress: Progress = silent, adapters: Sequence[str] = ()
) -> Checkpoint:
    """What a bundle was built from. Arguments and errors as in `check`."""
    from compiler.checkpoint.origins import reopen

    require_cache()
    progress(Event("checkpoint", reference or manifest.source.name))
    return reopen(manifest, reference, adapters, cache_folder())


def _copy(made: Path, out: Path, marker: str) -> Path:
    with staging(out, marker) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(INDEX))
    return out


def _slug(model: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(model.rstrip("/")).name.removesuffix(".gguf")).strip("-.") or "model"
