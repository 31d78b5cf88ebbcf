"""A build, stage by stage. Start reading here.

    checkpoint ─export▶ portable ─optimize▶ lowered ─build▶ engine ─check▶ parity ─measure▶ speed ─seal▶ bundle

Every stage writes a folder with its record into the cache; a stage whose inputs have not changed is taken from there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler import bundle
from compiler import profile as profiles
from compiler.cache import INDEX, Artifact
from compiler.context import checked_context, require_context
from compiler.profile import Profile
from compiler.progress import Event, Progress, report, silent
from compiler.records import Certificate, Checked, EngineOptions, Manifest, Measured, Optimized
from compiler.records.divergence import Diverged
from compiler.request import BuildRequest, ModelRequest, request
from compiler.stages import build as engine_stage
from compiler.stages import check as check_stage
from compiler.stages import checkpoint as checkpoint_stage
from compiler.stages import export as export_stage
from compiler.stages import measure as measure_stage
from compiler.stages import optimize as optimize_stage
from compiler.stages import seal as seal_stage
from compiler.storage import cache_folder, require_cache, require_place, staging
from compiler.tasks import TASKS
from compiler.traffic import Traffic, fit_model
from compiler.traffic import read as recorded
from compiler.validation import asked
from compiler.validation.ready import ready

if TYPE_CHECKING:
    from compiler.checkpoint import Checkpoint

Place = str | os.PathLike[str]


def build(
    model: Place | BuildRequest,
    *,
    out: Place | None = None,
    progress: Progress = silent,
    **choices: Any,
) -> Path:
    """Compile a checkpoint into a bundle and certify it.

    Args:
        model: a hub id, a folder, a `.gguf` file, or a whole request.
        out: the bundle's folder; None is `artifacts/NAME` in the current folder.
        progress: called with every step.
        choices: the other fields of `request.BuildRequest`: profile, task, precision, budget, ...

    Returns:
        the bundle's folder.

    Raises:
        BudgetError: answers are outside the accuracy budget; the bundle is written all the same, as "fail".
        CompilerError: any other error of `compiler.errors`; nothing is left behind.
    """
    from compiler.checkpoint.length import stated

    wanted = request(BuildRequest, model, choices)
    target = profiles.load(wanted.profile)
    requests = recorded(Path(wanted.traffic)) if wanted.traffic else None
    folder = Path(out or _place(wanted))
    asked.possible(target, wanted)
    ready(target, asked.kinds(wanted), precision=wanted.precision, targets=wanted.targets, traffic=requests)
    asked.require_outside(wanted.model, folder)
    bundle.require_place(folder)
    checkpoint = checkpoint_stage.run(wanted, progress)
    ready(target, [TASKS[checkpoint.task].kind], precision=wanted.precision, targets=wanted.targets, traffic=requests)
    asked.limits(target, checkpoint.task, checkpoint.config, wanted.precision, wanted.budget)
    if wanted.context:
        require_context(wanted.context, stated(checkpoint.folder, checkpoint.task))
    portable = export_stage.run(checkpoint, progress)
    promised = checked_context(portable.record, wanted.context, lambda said: progress(Event("context", said)))
    portable = portable._replace(record=promised)
    width = promised.outputs[0].shape[-1]
    budget = asked.limits(target, promised.task, checkpoint.config, wanted.precision, wanted.budget, width=width)
    lowering = target.lowering(promised.kind, wanted.precision)
    lowered = optimize_stage.run(portable, lowering, strict=wanted.strict, progress=progress)
    options = _engine_options(target, lowered.record, wanted.targets, requests, progress)
    built = engine_stage.run(portable, lowered, target.engine, options, progress)
    checked = check_stage.run(built, lowered.record.passes, checkpoint, budget, progress)
    measured = measure_stage.run(built, checkpoint.folder, progress) if wanted.bench else None
    certificate = seal_stage.run(
        folder,
        built=built,
        optimized=lowered.record,
        checked=checked,
        measured=measured,
        budget=budget,
        progress=progress,
    )
    if certificate.verdict == "fail":
        error = seal_stage.outside(str(folder), checked)
        error.bundle = folder
        raise error
    return folder


def export(
    model: Place | ModelRequest,
    *,
    out: Place | None = None,
    progress: Progress = silent,
    **choices: Any,
) -> Path:
    """The first stage alone: a folder with the portable model and `exported.json`.

    Arguments as in `build`; `choices` are the other fields of `request.ModelRequest`.
    """
    wanted = request(ModelRequest, model, choices)
    place = _place(wanted)
    folder = Path(out or place.with_name(f"{place.name}-exported"))
    asked.require_outside(wanted.model, folder)
    require_place(folder, bundle.EXPORTED)
    return _copy(export_stage.run(checkpoint_stage.run(wanted, progress), progress), folder, bundle.EXPORTED)


def optimize(
    exported: Place,
    *,
    profile: Place = "auto",
    precision: str | None = None,
    out: Place | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> Path:
    """The second stage alone: lower the portable model in the folder `exported`. Arguments as in `build`."""
    source = Path(exported)
    target, portable = profiles.load(os.fspath(profile)), export_stage.opened(source)
    lowering = target.lowering(portable.record.kind, precision)
    name = source.name.removesuffix("-exported")
    folder = Path(out or source.parent / f"{name}-{lowering.profile}-{lowering.precision}")
    require_place(folder, optimize_stage.RECORD)
    lowered = optimize_stage.run(portable, lowering, strict=strict, progress=progress)
    return _copy(lowered, folder, optimize_stage.RECORD)


def check(
    bundle: Place,
    *,
    reference: Place | None = None,
    adapters: Sequence[Place] = (),
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
    folder = Path(bundle)
    manifest, certificate = _open(folder)
    allowed = asked.limits_of(folder, manifest, certificate, budget or {})
    checkpoint = checkpoint_of(manifest, reference, progress, adapters)
    subject = check_stage.Subject(folder, manifest, certificate.passes)
    checked = check_stage.again(subject, checkpoint, allowed, progress)
    if seal:
        progress(Event("seal", str(folder)))
        seal_stage.again(folder, manifest, certificate, checked, allowed)
    return checked


def bisect(
    bundle: Place,
    *,
    reference: Place | None = None,
    adapters: Sequence[Place] = (),
    budget: dict[str, float] | None = None,
    progress: Progress = silent,
) -> Diverged:
    """Find the first layer at which a bundle's answers leave PyTorch's. Arguments as in `check`."""
    folder = Path(bundle)
    manifest, certificate = _open(folder)
    allowed = asked.limits_of(folder, manifest, certificate, budget or {})
    checkpoint = checkpoint_of(manifest, reference, progress, adapters)
    return check_stage.bisect(folder, manifest, checkpoint, allowed, progress)


def bench(
    bundle: Place, *, reference: Place | None = None, adapters: Sequence[Place] = (), progress: Progress = silent
) -> Measured:
    """Measure a bundle and PyTorch again on this machine. Arguments as in `check`."""
    from compiler.measure import measure

    folder = Path(bundle)
    manifest, _ = _open(folder)
    checkpoint = checkpoint_of(manifest, reference, progress, adapters)
    progress(Event("measure", "engine and PyTorch, one process each"))
    return measure(folder, checkpoint.folder, progress=report(progress, "measure"))


def _open(folder: Path) -> tuple[Manifest, Certificate]:
    manifest = bundle.verify(folder)
    return manifest, bundle.certificate(folder, manifest)


def checkpoint_of(
    manifest: Manifest, reference: Place | None, progress: Progress = silent, adapters: Sequence[Place] = ()
) -> Checkpoint:
    """What a bundle was built from. Arguments and errors as in `check`."""
    from compiler.checkpoint.origins import reopen

    require_cache()
    found = None if reference is None else os.fspath(reference)
    progress(Event("checkpoint", found or manifest.source.name))
    return reopen(manifest, found, [os.fspath(each) for each in adapters], cache_folder())


def _engine_options(
    target: Profile, optimized: Optimized, targets: Sequence[str], requests: Traffic | None, progress: Progress
) -> EngineOptions:
    """With the shapes that recorded requests want, where there are some."""
    shapes = target.recipe(optimized.exported.kind).shapes
    if requests:
        fitted = fit_model(requests, shapes, optimized.exported, optimized.cache)
        progress(Event("build", f"{target.engine}, {fitted.text}"))
        shapes = fitted.shapes
    return profiles.engine_options(target, optimized.exported.kind, targets=targets, shapes=shapes)


def _copy(made: Artifact[Any], out: Path, marker: str) -> Path:
    with staging(out, marker) as folder:
        shutil.copytree(made.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(INDEX))
    return out


def _place(wanted: ModelRequest) -> Path:
    name = Path(wanted.model.rstrip("/")).name.removesuffix(".gguf")
    return Path("artifacts") / (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model")
