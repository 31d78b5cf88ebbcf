"""What a report is made of: bundles, certificates, and the JSON that `eval`, `compare` and `check --bisect` print."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from compiler import bundle
from compiler.errors import InputError, IntegrityError
from compiler.reading import parse_strict
from compiler.records import Certificate, Evaluated
from compiler.records.comparison import Compared, Flips
from compiler.records.divergence import Diverged
from compiler.records.document import Entry, Report

LEAST, MOST = 1e-12, 1e15  # of a sample, in whatever unit
SMALLEST, LARGEST = 1e-100, 1e100  # of an error of a layer that is not 0, its scale and its limit


def read(paths: Sequence[Path], *, include_texts: bool = False) -> Report:
    """Put a report together.

    Args:
        paths: folders of bundles, and JSON files with a record each, in any order.
        include_texts: keep the answers and texts of the user's data that records may hold.

    Raises:
        InputError: a file is none of the records, or there is nothing to report on.
        IntegrityError: a bundle or a record is damaged.
    """
    found: list[Any] = [_folder(path) if os.path.isdir(path) else _file(path) for path in paths]
    entries = [each for each in found if isinstance(each, Entry)]
    if not entries:
        raise InputError("nothing to report on", expected="a bundle or its certificate.json", action="name one")
    report = Report(
        entries=tuple(_named_apart(entries)),
        evaluations=tuple(each for each in found if isinstance(each, Evaluated)),
        comparisons=tuple(each for each in found if isinstance(each, Compared)),
        divergences=tuple(each for each in found if isinstance(each, Diverged)),
        texts=include_texts,
    )
    _require_samples(report)
    _require_errors(report)
    return report if include_texts else without_texts(report)


def single(certificate: Certificate, name: str, location: str) -> Report:
    """A report on one bundle that is only being made."""
    return Report(entries=(Entry(name=name, location=location, certificate=certificate),))


def without_texts(report: Report) -> Report:
    """The same without anything that came from the user's data: answers, texts, and the tokens' texts."""
    return replace(
        report,
        texts=False,
        evaluations=tuple(
            replace(each, systems=tuple(replace(system, answers=()) for system in each.systems))
            for each in report.evaluations
        ),
        comparisons=tuple(replace(each, flips=each.flips and _bare(each.flips)) for each in report.comparisons),
    )


def _bare(flips: Flips) -> Flips:
    """Flips by numbers and labels alone: where there is a text, the answers are texts too."""
    return replace(
        flips,
        flips=tuple(
            replace(
                flip,
                baseline=flip.baseline if flip.text is None else "",
                candidate=flip.candidate if flip.text is None else "",
                text=None,
                tokens=tuple(replace(token, text=None) for token in flip.tokens),
            )
            for flip in flips.flips
        ),
    )


def _folder(path: Path) -> Entry:
    manifest = bundle.verify(path)
    total = sum(entry.size for entry in manifest.files.values())
    return Entry(
        name=path.resolve().name,
        location=str(path),
        certificate=bundle.certificate(path, manifest),
        size_bytes=total,
        digest=bundle.digest_of(path),
    )


def _file(path: Path) -> Entry | Evaluated | Compared | Diverged:
    raw = parse_strict(bundle.sealed(path, InputError), Any, InputError, str(path))
    keys = set(raw) if isinstance(raw, dict) else set()
    try:
        if "diverged" in keys:  # all of what `compile check --bisect --json` prints
            return msgspec.convert(raw["diverged"], Diverged)
        if "compared" in keys:  # all of what `compile compare --json` prints
            return msgspec.convert(raw["compared"], Compared)
        if {"layers", "within"} <= keys:
            return msgspec.convert(raw, Diverged)
        if {"baseline", "candidate"} <= keys:
            return msgspec.convert(raw, Compared)
        if "systems" in keys:
            return msgspec.convert(raw, Evaluated)
        if "checked" in keys:
            certificate = msgspec.convert(raw, Certificate)
            return Entry(name=path.resolve().parent.name, location=str(path), certificate=certificate)
    except msgspec.ValidationError as error:
        raise IntegrityError(f"{path}: not a valid record", found=str(error), action="make it again") from error
    raise InputError(
        f"{path}: nothing that a report can show",
        found=", ".join(sorted(keys)[:6]) or "no object",
        expected="a certificate, or the JSON of compile eval, compare or check --bisect",
    )


def _require_samples(report: Report) -> None:
    """Raises IntegrityError where a series has nothing to draw."""
    series: list[tuple[str, Sequence[float]]] = []
    for measured in (entry.certificate.measured for entry in report.entries if entry.certificate.measured):
        runners = [runner for runner in (measured.engine, measured.reference) if runner]
        series += [(each.name, each.samples) for runner in runners for each in runner.series]
    for timing in (timing for compared in report.comparisons for timing in compared.timings):
        series += [(timing.name, [*chain(*side)]) for side in (timing.baseline, timing.candidate)]
    for name, samples in series:
        if not samples or not LEAST < min(samples) <= max(samples) < MOST:
            raise IntegrityError(
                f"samples of {name} that nobody measured",
                found=", ".join(map(str, samples[:4])) or "none",
                expected="positive numbers",
                action="measure again",
            )


def _require_errors(report: Report) -> None:
    """Raises IntegrityError where an error of a layer has no place on an axis."""
    for layer in (each for diverged in report.divergences for each in (*diverged.layers, *diverged.within)):
        values = (layer.error, layer.scale, layer.limit)
        if any(value and not SMALLEST < value < LARGEST for value in values):
            raise IntegrityError(
                f"{layer.module}: an error that nobody measured",
                found=", ".join(map(str, values)),
                expected="positive numbers, or 0",
                action="compare again",
            )


def _named_apart(entries: Sequence[Entry]) -> list[Entry]:
    """Entries of one name have their location in it."""
    count = Counter(entry.name for entry in entries)
    return [
        replace(entry, name=f"{entry.name} ({entry.location})") if count[entry.name] > 1 else entry for entry in entries
    ]
