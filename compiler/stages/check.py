"""A bundle's answers against PyTorch's."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from compiler import bundle, cache, machine
from compiler.cache import Artifact, artifact, telling
from compiler.engines import ENGINES, engine, open_bundle, serving
from compiler.progress import Event, Progress, begin, report, warn
from compiler.records import Budget, Built, Checked, Manifest, PassRun, Serving
from compiler.records.divergence import Diverged
from compiler.storage import cache_folder

if TYPE_CHECKING:
    from compiler.checkpoint import Checkpoint

RECORD = "checked.json"


def key(built: Artifact[Built], budget: Budget, answers: Serving) -> str:
    """What is proved are these very files, on processors of this kind. `answers` is what runs them here."""
    decisive = (built.content, budget, answers, machine.kind(machine.detect()))
    return cache.key(built.key, *decisive, code=[__name__, ENGINES[built.record.engine]])


class Subject(NamedTuple):
    """A bundle, or what will be one, and the passes that made its graphs."""

    folder: Path
    manifest: Manifest
    passes: Sequence[PassRun]


def run(
    built: Artifact[Built], passes: Sequence[PassRun], checkpoint: Checkpoint, budget: Budget, progress: Progress
) -> Checked:
    """Parity of a build in the cache. Raises as `again`."""
    subject = Subject(built.folder, bundle.read(built.folder), passes)
    answers = serving(subject.manifest, subject.manifest.options)
    folder = cache_folder() / "check" / key(built, budget, answers)
    started = begin(progress, "check", _compared(answers))

    def make(_: Path) -> Checked:
        made = msgspec.structs.replace(_parity(subject, checkpoint, budget, progress), serving=answers)
        checkpoint.require_unchanged()
        return made

    with telling(warn(progress, "check")):
        return artifact(folder, RECORD, Checked, make, started).record


def again(subject: Subject, checkpoint: Checkpoint, budget: Budget, progress: Progress) -> Checked:
    """Parity of a bundle of a user's own; nothing is kept.

    Raises as `compiler.check.check`, and as `engines.open_bundle`.
    """
    answers = serving(subject.manifest, subject.manifest.options)
    begin(progress, "check", _compared(answers))(False)
    return msgspec.structs.replace(_parity(subject, checkpoint, budget, progress), serving=answers)


def bisect(folder: Path, manifest: Manifest, checkpoint: Checkpoint, budget: Budget, progress: Progress) -> Diverged:
    """The first layer at which a bundle's answers leave PyTorch's. Raises as `again`."""
    from compiler.check import bisect
    from compiler.check.steps import telling as telling_steps
    from compiler.checkpoint.marks import marks
    from compiler.checkpoint.reference import Reference
    from compiler.corpus import evaluation_text

    progress(Event("bisect", "layer by layer"))
    runs = engine(manifest.engine)
    opened = open_bundle(folder, manifest, manifest.options)
    with closing(opened) as session, telling_steps(report(progress, "bisect")):
        found = bisect(
            session,
            manifest,
            watch=lambda model, modules, feeds: runs.watch(folder / model, manifest.options, modules, feeds),
            precisions=lambda model: runs.precisions(folder / model),
            open_reference=functools.partial(Reference, checkpoint.reference, manifest.task),
            texts=evaluation_text(),
            budget=budget,
            tokenizer=folder / "tokenizer.json",
            marks=marks(checkpoint.folder),
        )
    return msgspec.structs.replace(found, location=str(folder))


def _compared(answers: Serving) -> str:
    return f"{answers.engine} against PyTorch float32"


def _parity(subject: Subject, checkpoint: Checkpoint, budget: Budget, progress: Progress) -> Checked:
    from compiler.check import Sides, check
    from compiler.check.steps import telling as telling_steps
    from compiler.checkpoint.marks import marks
    from compiler.checkpoint.reference import Reference
    from compiler.checkpoint.tokens import Tokens
    from compiler.corpus import evaluation_text
    from compiler.runtime.adapters import Adapters
    from compiler.runtime.tokenized import Tokenized

    folder, manifest = subject.folder, subject.manifest

    def reference(of: Path) -> functools.partial[Reference]:
        return functools.partial(Reference, of, manifest.task)

    files = bundle.Files(folder, manifest)
    choose = Adapters(files, manifest)
    opened = open_bundle(folder, manifest, manifest.options)
    with closing(opened) as session, telling_steps(report(progress, "check")):
        return check(
            session,
            manifest,
            reference(checkpoint.reference),
            evaluation_text(),
            budget=budget,
            tokenizer=folder / "tokenizer.json",
            marks=marks(checkpoint.folder),
            tokens=Sides(Tokenized(files, manifest), Tokens(checkpoint, manifest)),
            passes=subject.passes,
            adapters={
                each.name: (choose(session, each.name), reference(each.joined or each.folder))
                for each in checkpoint.adapters
            },
        )
