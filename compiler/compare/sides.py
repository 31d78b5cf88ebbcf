"""What can be compared: a bundle, a certificate, or a baseline that was saved from a bundle."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from compiler import bundle, records, storage
from compiler.compare.precisions import module_precisions, placed_precisions
from compiler.errors import IntegrityError, UsageError, did_you_mean
from compiler.reading import parse_strict
from compiler.records import Certificate, Manifest
from compiler.records.comparison import Baseline, Side

BASELINES = Path("artifacts/baselines")
DIGITS = 12  # of a digest, in an error


@dataclass(frozen=True)
class Opened:
    """One side with all that is known about it. `folder` only of a bundle, `manifest` not of a lone certificate.

    `digest` is the SHA-256 of its manifest, or "".
    """

    side: Side
    certificate: Certificate
    manifest: Manifest | None
    folder: Path | None
    precisions: dict[str, str]
    digest: str = ""


def read(location: str) -> Opened:
    """Open a bundle's folder, a certificate's or baseline's file, or a baseline by its name.

    Raises:
        UsageError: there is nothing of that name.
        IntegrityError: it is none of these, or was changed. A lone certificate has no digest to tell that by.
    """
    path = Path(location)
    named = BASELINES / f"{location}.json"
    if os.path.isdir(path):
        return _bundle(path)
    if os.path.isfile(path):
        return _file(path)
    if os.path.isfile(named):
        return _file(named)
    known = sorted(each.stem for each in BASELINES.glob("*.json"))
    raise UsageError(
        f"{location}: nothing to compare",
        expected=f"a bundle, a certificate.json or a baseline ({', '.join(known) or 'none is saved'})",
        action=did_you_mean(location, known) or "name a folder or a file that exists",
    )


def of_one_task(baseline: Opened, candidate: Opened) -> None:
    """Raises UsageError where the two are for different tasks."""
    tasks = (baseline.side.task, candidate.side.task)
    if tasks[0] != tasks[1]:
        raise UsageError(
            f"{candidate.side.location} cannot be compared with {baseline.side.location}",
            found=f"{tasks[1]} and {tasks[0]}",
            expected="two for one task",
        )


def save_baseline(name: str, folder: Path) -> Path:
    """Keep what a bundle says about itself as a baseline that later ones can be compared with; gives its file.

    Args:
        name: of the baseline, or the path of a `.json` file.
        folder: the bundle.

    Raises:
        IntegrityError: the bundle was changed.
        UsageError: the name leads elsewhere.
    """
    path = Path(name) if name.endswith(".json") else BASELINES / f"{name}.json"
    if not name.endswith(".json") and (Path(name).name != name or name.startswith(".")):
        raise UsageError(f'"{name}" is no name for a baseline', expected="a plain name, or a path that ends in .json")
    opened = _bundle(folder)
    if opened.manifest is None:
        raise AssertionError("a bundle has a manifest")
    made = Baseline(
        name=path.stem,
        certificate=opened.certificate,
        manifest=opened.manifest,
        precisions=opened.precisions,
        bundle=opened.digest,
    )
    digest = _digest(msgspec.to_builtins(made))
    storage.write_result(path, records.encode(msgspec.structs.replace(made, digest=digest)))
    return path


def _bundle(folder: Path) -> Opened:
    manifest = bundle.verify(folder)
    certificate = bundle.certificate(folder, manifest)
    precisions = module_precisions(folder, manifest) or placed_precisions(certificate)
    digest = storage.digest(folder / bundle.MANIFEST)
    return Opened(_side("bundle", folder, certificate), certificate, manifest, folder, precisions, digest)


def _file(path: Path) -> Opened:
    content = bundle.sealed(path, IntegrityError)
    raw = parse_strict(content, dict[str, Any], IntegrityError, str(path))
    if "manifest" in raw:
        baseline = records.parse(content, Baseline, str(path))
        if baseline.digest and baseline.digest != (found := _digest(raw)):
            raise IntegrityError(
                f"{path}: this baseline was changed since it was saved",
                found=f"sha256:{found[:DIGITS]}...",
                expected=f"sha256:{baseline.digest[:DIGITS]}...",
                action="save it again from its bundle, with compile compare --save-baseline",
            )
        side = msgspec.structs.replace(_side("baseline", path, baseline.certificate), sealed=bool(baseline.digest))
        bundle_digest = baseline.bundle or hashlib.sha256(records.encode(baseline.manifest)).hexdigest()
        return Opened(side, baseline.certificate, baseline.manifest, None, baseline.precisions, bundle_digest)
    certificate = records.parse(content, Certificate, str(path))
    return Opened(_side("certificate", path, certificate), certificate, None, None, placed_precisions(certificate))


def _digest(baseline: dict[str, Any]) -> str:
    """SHA-256 of everything that a baseline's JSON says but this digest; how it is laid out counts for nothing."""
    content = {name: value for name, value in baseline.items() if name != "digest"}
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _side(kind: Literal["bundle", "certificate", "baseline"], path: Path, certificate: Certificate) -> Side:
    return Side(
        kind=kind,
        location=str(path),
        task=certificate.task,
        profile=certificate.profile,
        precision=certificate.precision,
        source_digest=certificate.source.digest,
        created=certificate.created,
        verdict=certificate.verdict,
    )
