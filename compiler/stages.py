"""Each stage with its place in the cache: what decides its result, and what it is made by.

`pipeline` calls these in order. A stage's heavy imports happen only when it really runs.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from compiler import bundle, profile, records
from compiler.cache import INDEX, Entry, folder_key, key, stage, telling
from compiler.errors import UsageError
from compiler.folders import not_portable
from compiler.machine import kind as processor
from compiler.profile import Budget, Profile
from compiler.records import Built, Checked, Exported, Manifest, Measured, Optimized, PassRun
from compiler.storage import cache_folder, require_cache
from compiler.traffic import Traffic, fit_model

if TYPE_CHECKING:
    from compiler.checkpoint import Checkpoint

EXPORTED, OPTIMIZED, BUILT, CHECKED, MEASURED = (
    f"{name}.json" for name in ("exported", "optimized", "built", "checked", "measured")
)
ADAPTERS = "adapters"  # the folder with the files of `Exported.adapters`
CALIBRATION_TEXTS, CALIBRATION_TOKENS = 32, 128


class Event(NamedTuple):
    """Progress of one stage, for a person: its first says what it is, others its steps, `done` of `total` (0: unknown).

    A `warning` is kept in sight.
    """

    stage: str
    message: str
    done: int = 0
    total: int = 0
    cached: bool = False
    warning: bool = False


Progress = Callable[[Event], None]


def silent(_: Event) -> None:
    pass


def run_checkpoint(
    model: str,
    *,
    task: str | None,
    revision: str | None,
    allow_pickle: bool,
    progress: Progress,
    adapters: Sequence[str] = (),
    adapter_base: str | None = None,
) -> Checkpoint:
    from compiler.checkpoint import adapter, resolve
    from compiler.checkpoint.join import attach
    from compiler.checkpoint.origins import remember

    require_cache()
    progress(Event("checkpoint", model))
    if adapter_base and not adapters:
        raise UsageError("--adapter-base without an adapter", expected="--adapter PATH", action="name one, or drop it")
    found = adapter.find(adapters)
    wanted = task or adapter.task_of(found)
    with telling(_warning(progress, "checkpoint")):
        checkpoint = resolve(model, task=wanted, revision=revision, allow_pickle=allow_pickle, cache=cache_folder())
        attached = attach(checkpoint, found, adapter_base, cache_folder())
    remember(attached, cache_folder())
    return attached


def run_export(checkpoint: Checkpoint, progress: Progress) -> Entry[Exported]:
    from compiler.checkpoint import leftover

    packages = ("torch", "transformers", "peft", "onnx", "onnx-ir", "onnxscript")
    code = ("export", "checkpoint", "records", "tasks.py", "generation.py", "reading.py", "pooling.py")
    apart = [(each.name, each.source.digest) for each in checkpoint.adapters]
    name = key(checkpoint.source.digest, checkpoint.task, apart, code=code, packages=packages)

    def make(out: Path) -> Exported:
        from compiler.export import export

        return export(checkpoint, out)

    folder = cache_folder() / "export" / name
    started = _started(progress, "export", f"task {checkpoint.task}")
    with telling(_warning(progress, "export")):
        entry = stage(folder, EXPORTED, Exported, make, started)
    sources = {each.name: each.source for each in checkpoint.adapters}
    adapters = tuple(msgspec.structs.replace(each, source=sources[each.name]) for each in entry.record.adapters)
    unread = leftover.bounded((*entry.record.unread, *leftover.files(checkpoint)))
    record = msgspec.structs.replace(entry.record, source=checkpoint.source, adapters=adapters, unread=unread)
    return entry._replace(record=record)


def outside(folder: Path) -> Entry[Exported]:
    """A portable model that a user has, who may have changed it. Raises UsageError where the folder is none."""
    if not (folder / EXPORTED).exists():
        raise not_portable(folder)
    return Entry(folder, records.load(folder / EXPORTED, Exported), folder_key(folder))


def run_optimize(
    entry: Entry[Exported], target: Profile, precision: str | None, *, strict: bool, progress: Progress
) -> Entry[Optimized]:
    folder, exported = entry.folder, entry.record
    chosen = target.chosen([exported.kind], precision)
    recipe = target.recipe(exported.kind)
    choices = [*recipe.passes, *recipe.precisions[chosen]]
    packages = ("onnx-ir", "onnxscript", "onnxruntime")
    code = ("optimize", "records", "corpus.py", "machine.py")
    made_for = (target.name, target.requires, chosen, choices, strict, exported.context_length)
    name = key(entry.identity, *made_for, code=code, packages=packages)
    steps = len(choices) * len(_graphs(exported))
    started = _started(progress, "optimize", f"{chosen} for {target.name}")

    def make(out: Path) -> Optimized:
        from compiler.optimize.calibration import text_feeds
        from compiler.optimize.lower import optimize
        from compiler.optimize.passes import PASSES

        done = iter(range(1, steps + 1))
        return optimize(
            folder,
            exported,
            [PASSES[choice.name](**choice.options) for choice in choices],
            profile_name=target.name,
            target=target.requires,
            precision=chosen,
            out=out,
            calibration=functools.partial(
                text_feeds, folder / "tokenizer.json", exported, CALIBRATION_TEXTS, CALIBRATION_TOKENS, 0
            ),
            observers=[lambda _, run: progress(Event("optimize", run.name, next(done), steps))],
            strict=strict,
        )

    made = cache_folder() / "optimize" / name
    with telling(_warning(progress, "optimize")):
        found = stage(made, OPTIMIZED, Optimized, make, started)
    return found._replace(record=msgspec.structs.replace(found.record, exported=exported))


def run_build(
    exported_in: Path,
    lowered: Entry[Optimized],
    target: Profile,
    progress: Progress,
    *,
    targets: Sequence[str] = (),
    requests: Traffic | None = None,
) -> Entry[Built]:
    """The engine with all a bundle holds but the certificate: the runtime can open the folder."""
    from compiler.engines import engine

    optimized = lowered.record
    kind, shapes = optimized.exported.kind, target.recipe(optimized.exported.kind).shapes
    if requests:
        fitted = fit_model(requests, shapes, optimized.exported, optimized.cache)
        progress(Event("build", f"{target.engine}, {fitted.text}"))
        shapes = fitted.shapes
    options = profile.engine_options(target, kind, targets=targets, shapes=shapes)
    chosen = engine(target.engine)
    code = ("engines", "records", "bundle.py")
    sources = (optimized.exported.source, optimized.exported.adapters)
    name = key(lowered.identity, target.engine, chosen.version(), options, *sources, code=code)

    def make(out: Path) -> Built:
        built = chosen.build(optimized, lowered.folder, out, options, report(progress, "build"))
        for path in exported_in.iterdir():
            if (
                path.is_file()
                and path.name not in {EXPORTED, INDEX}
                and not path.name.startswith(_graphs(optimized.exported))
            ):
                shutil.copyfile(path, out / path.name)
        if optimized.exported.adapters:
            shutil.copytree(exported_in / ADAPTERS, out / ADAPTERS)
        bundle.seal(out, bundle.manifest_of(optimized, built))
        return built

    folder = cache_folder() / "build" / name
    with telling(_warning(progress, "build")):
        return stage(folder, BUILT, Built, make, _started(progress, "build", target.engine))


def run_check(
    folder: Path,
    checkpoint: Checkpoint,
    budget: Budget,
    progress: Progress,
    manifest: Manifest | None = None,
    *,
    passes: Sequence[PassRun],
    identity: str = "",
) -> Checked:
    """Parity with PyTorch. `identity` is that of the build's entry in the cache; "" checks anew, and keeps nothing.

    `passes` made the engine's graphs.
    """
    from compiler.engines import open_bundle, serving

    manifest = manifest or records.load(folder / bundle.MANIFEST, Manifest)
    answers = serving(manifest, manifest.options)

    def make(_: Path) -> Checked:
        from compiler.check import Sides, check
        from compiler.check.steps import telling as counting
        from compiler.checkpoint.marks import marks
        from compiler.checkpoint.reference import Reference
        from compiler.checkpoint.tokens import Tokens
        from compiler.corpus import evaluation_text
        from compiler.runtime.adapters import Adapters
        from compiler.runtime.tokenized import Tokenized

        def reference(of: Path) -> functools.partial[Reference]:
            return functools.partial(Reference, of, manifest.task)

        files = bundle.Files(folder, manifest)
        choose = Adapters(files, manifest)
        opened = open_bundle(folder, manifest, manifest.options)
        with closing(opened) as session, counting(report(progress, "check")):
            checked = check(
                session,
                manifest,
                reference(checkpoint.reference),
                evaluation_text(),
                budget=budget,
                tokenizer=folder / "tokenizer.json",
                marks=marks(checkpoint.folder),
                tokens=Sides(Tokenized(files, manifest), Tokens(checkpoint, manifest)),
                passes=passes,
                adapters={
                    each.name: (choose(session, each.name), reference(each.joined or each.folder))
                    for each in checkpoint.adapters
                },
            )
        return msgspec.structs.replace(checked, serving=answers)

    started = _started(progress, "check", f"{answers.engine} against PyTorch float32")
    if not identity:
        started(False)
        return make(folder)
    ours = ("check", "checkpoint", "pooling.py", "runtime", "generation.py", "engines", "profile", "records")
    code = (*ours, "corpus.py", "statistics.py")
    name = key(identity, budget, answers, processor(profile.detect()), code=code, packages=("torch", "transformers"))
    with telling(_warning(progress, "check")):
        return stage(cache_folder() / "check" / name, CHECKED, Checked, make, started).record


def run_measure(folder: Path, identity: str, reference: Path, progress: Progress) -> Measured | None:
    """Nothing is measured where another engine than the bundle's own answers: its speed says nothing about them."""
    from compiler.engines import serving
    from compiler.measure import forget_unsteady, measure

    manifest = records.load(folder / bundle.MANIFEST, Manifest)
    answers = serving(manifest, manifest.options)
    if manifest.plans and not answers.engine.startswith(manifest.engine):
        progress(Event("measure", f"left out: {answers.reason}"))
        return None

    def make(_: Path) -> Measured:
        return measure(folder, reference, progress=report(progress, "measure"))

    machine = profile.detect()
    code = ("measure", "checkpoint", "runtime", "generation.py", "engines", "statistics.py", "records")
    name = key(identity, machine, answers, code=code, packages=("torch", "transformers"))
    started = _started(progress, "measure", "engine and PyTorch, one process each")
    kept = cache_folder() / "measure" / name
    forget_unsteady(kept, MEASURED)
    with telling(_warning(progress, "measure")):
        return stage(kept, MEASURED, Measured, make, started).record


def _graphs(exported: Exported) -> tuple[str, ...]:
    return (exported.model, *([exported.encoder.model] if exported.encoder else ()))


def _started(progress: Progress, name: str, message: str) -> Callable[[bool], None]:
    return lambda cached: progress(Event(name, message, cached=cached))


def _warning(progress: Progress, name: str) -> Callable[[str], None]:
    return lambda message: progress(Event(name, message, warning=True))


def report(progress: Progress, name: str) -> Callable[[str, int, int], None]:
    return lambda message, done, total: progress(Event(name, message, done, total))
