"""How good a bundle is at its task, on a user's data, beside PyTorch and another bundle.

Data and options are checked before a model is loaded.
All systems are loaded then, and answer the same items in turns.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from compiler.bundle import Files
from compiler.errors import InputError, UsageError
from compiler.evaluate import data, robustness
from compiler.evaluate.columns import Item, bind
from compiler.evaluate.evidence import Evidence
from compiler.evaluate.labels import answers_of
from compiler.evaluate.likelihood import sizes
from compiler.evaluate.metrics import APART, GENERATING, LIKELIHOOD, METRICS, Definition, choose, roles
from compiler.evaluate.privacy import raised
from compiler.evaluate.probes import read_canaries, read_secrets
from compiler.evaluate.scored import Scored, metric
from compiler.evaluate.settings import Reading, Settings
from compiler.evaluate.systems import Contestant, bundle_at, reference_of
from compiler.machine import detect
from compiler.progress import Report, unreported
from compiler.records import Evaluated, Finding, Manifest, Metric, System
from compiler.runtime.starts import starts_of
from compiler.runtime.text import Text

__all__ = ["METRICS", "Contestant", "Plan", "bundle_at", "plan", "reference_of"]

TEXTUAL = ("question-answering", "fill-mask", *GENERATING)  # tasks whose answers are pieces of text


@dataclass(frozen=True)
class Plan:
    """An evaluation that has been checked and can be run. Made by `plan`. `items` are by their row in the data."""

    path: Path
    items: Mapping[int, Item]
    chosen: Mapping[str, Definition]
    settings: Settings
    changes: Sequence[str]
    text: Text

    def require_alike(self, other: Contestant) -> Contestant:
        """The other bundle. Raises UsageError when its answers to these items would not be comparable."""
        ours, theirs = self.settings.answers, answers_of(other.folder, other.manifest)
        if (ours.task, set(ours.labels), ours.mode) != (theirs.task, set(theirs.labels), theirs.mode):
            raise UsageError(
                f"{other.folder}: not comparable: another task or other labels",
                found=f"{theirs.task} {', '.join(theirs.labels)}",
                expected=f"{ours.task} {', '.join(ours.labels)}",
            )
        _fit(self.items, self.chosen, other.manifest, Text(Files(other.folder, other.manifest), other.manifest))
        return other

    def run(
        self, systems: Sequence[Contestant], *, include_texts: bool = False, progress: Report = unreported
    ) -> Evaluated:
        """Evaluate each system.

        Args:
            include_texts: keep answers that are texts; labels are always kept.
            progress: called with a message, the steps done and their number.
        """
        start = time.perf_counter()
        # Rows of unequal length are nothing that PyTorch can generate together: beside it, nobody does.
        settings = replace(self.settings, batched=all(system.checkpoint is None for system in systems))
        with ExitStack() as stack:
            sides = [self._open(system, settings, stack, progress) for system in systems]
            for side in sides:
                side.beside = sides
            found = [self._evaluate(side, include_texts) for side in sides]
        return Evaluated(
            task=systems[0].manifest.task,
            data=str(self.path),
            data_digest=data.digest(self.items.values()),
            items=len(self.items),
            rows=tuple(self.items),
            seed=self.settings.seed,
            systems=tuple(found),
            machine=detect(),
            seconds=time.perf_counter() - start,
            findings=self._leaks(found),
        )

    def _leaks(self, found: Sequence[System]) -> tuple[Finding, ...]:
        """What the first system gives away, beside the reference."""
        sides = [{metric.name: metric for metric in system.metrics} for system in found]
        reference = next((side for system, side in zip(found, sides, strict=True) if system.name == "reference"), None)
        names = [name for name, row in self.chosen.items() if row.kind == "leak"]
        return tuple(raised(sides[0][name], reference[name]) for name in names) if reference else ()

    def _open(self, system: Contestant, settings: Settings, stack: ExitStack, progress: Report) -> Evidence:
        def shown(message: str, done: int, total: int) -> None:
            progress(f"{system.name}: {message}", done, total)

        shown("loading", 0, 0)
        model, session = stack.enter_context(system.open())
        text = Text(Files(system.folder, system.manifest), system.manifest)
        return Evidence(system, model, session, text, tuple(self.items.values()), settings, shown)

    def _evaluate(self, side: Evidence, include_texts: bool) -> System:
        system = side.system
        plain = {name: row.score(side) for name, row in self.chosen.items()}
        metrics = [metric(name, row.unit, row.better, plain[name]) for name, row in self.chosen.items()]
        for kind in self.changes:
            worse = robustness.under(side, kind, self.settings.seed, self.settings.answers.mask)
            side.progress(kind, 0, 0)
            for name, row in self.chosen.items():
                if row.kind == "quality":
                    metrics += _under(f"{name}.{kind}", row, plain[name], row.score(worse))
        keep = include_texts or system.manifest.task not in TEXTUAL
        answers = tuple(each.shown for each in side.predictions) if keep and side.answered else ()
        return System(
            name=system.name, location=system.location, digest=system.digest, metrics=tuple(metrics), answers=answers
        )


def _under(name: str, row: Definition, plain: Scored, worse: Scored) -> list[Metric]:
    lost = robustness.drop(plain, worse, row.better == "higher")
    drop = metric(f"{name}.drop", row.unit, "lower", lost)
    # Two systems are compared by the score under the change, so that the drop keeps no draws.
    return [metric(name, row.unit, row.better, worse), msgspec.structs.replace(drop, draws=())]


def plan(
    made: Contestant,
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    metrics: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    changes: Sequence[str] = (),
    secrets: Path | None = None,
    canaries: Path | None = None,
    window: int | None = None,
    stride: int | None = None,
    max_new_tokens: int = 64,
    bins: int | None = None,
) -> Plan:
    """Read the data, and check that it, the options and the bundle fit each other; no model is loaded.

    Args:
        made: the bundle that decides about labels, tokens and lengths.
        path: see `data.read`.
        columns: the data's name of a column, by role (see `columns.ROLES`); None finds the usual names.
        metrics: names or groups of `metrics`; none are the task's own.
        limit: evaluate a sample of so many rows.
        seed: of the sample and of everything else that is random.
        changes: names of `robustness.kinds`: score again under these.
        secrets, canaries: see `probes`.
        window, stride: tokens; see `likelihood.sizes`.
        max_new_tokens: of each generation.
        bins: of the calibration error.

    Raises:
        UsageError: an option does not fit the bundle.
        InputError: the data does not fit it.
    """
    manifest = made.manifest
    answers = answers_of(made.folder, manifest)
    text = Text(Files(made.folder, manifest), manifest)
    settings = Settings(
        answers=answers,
        reading=Reading(*sizes(manifest.context_length, window, stride)),
        max_new_tokens=max_new_tokens,
        seed=seed,
        secrets=tuple(read_secrets(secrets)) if secrets else (),
        canaries=tuple(read_canaries(canaries, seed)) if canaries else (),
    )
    if bins:
        settings = replace(settings, bins=bins)
    chosen = choose(manifest.task, metrics, answers, settings)
    kinds = robustness.kinds(changes, text, manifest)
    rows = data.sample(data.read(path), limit, seed)
    bound = bind(manifest.task, rows, columns or {}, roles(manifest.task, list(chosen.values())), answers)
    items = dict(zip(rows, bound, strict=True))
    _fit(items, chosen, manifest, text)
    return Plan(path, items, chosen, settings, kinds, text)


def _fit(items: Mapping[int, Item], chosen: Mapping[str, Definition], manifest: Manifest, text: Text) -> None:
    """Raises InputError for a text that the model could not take, or that has nothing to score."""
    if manifest.cache is None:
        return
    starts = starts_of(manifest, text)
    for row, item in items.items():
        try:
            if set(chosen) - LIKELIHOOD - APART:
                starts.read(item["text"])
        except InputError as error:
            raise InputError(
                f"row {row + 1}: {error.subject}", found=error.found, expected=error.expected, action=error.action
            ) from error
        if LIKELIHOOD & set(chosen) and (tokens := len(text.encode([item["text"]])[0].ids)) < 2:
            raise InputError(f"row {row + 1}: nothing to score", found=f"{tokens} tokens", expected="2 tokens or more")
