"""The last stage: a bundle from what the others made, and what a build outside its budget ends with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from compiler import bundle, inventory, records
from compiler.cache import Artifact
from compiler.errors import BudgetError
from compiler.figures import beside
from compiler.machine import detect
from compiler.progress import Event, Progress
from compiler.records import Budget, Built, Certificate, Checked, FileEntry, Finding, Manifest, Measured, Optimized
from compiler.storage import staging

WRITTEN = "the bundle is written, with verdict fail"


def run(
    out: Path,
    *,
    built: Artifact[Built],
    optimized: Optimized,
    checked: Checked,
    measured: Measured | None,
    budget: Budget,
    progress: Progress,
) -> Certificate:
    from compiler.report import certificate

    progress(Event("seal", str(out)))
    made = certificate(
        optimized=optimized,
        built=built.record,
        checked=checked,
        measured=measured,
        budget=_stated(budget),
        machine=detect(),
        created=_now(),
    )
    manifest = bundle.manifest_of(optimized, built.record)
    _write(out, built.folder, bundle.read(built.folder).files, made, manifest)
    return made


def again(folder: Path, manifest: Manifest, certificate: Certificate, checked: Checked, budget: Budget) -> Certificate:
    """Give a bundle a certificate of this machine and what answers on it, in place of the one it has.

    Speed that another machine measured is left out. The bundle's digest changes, and no other file.
    """
    here = detect()
    made = msgspec.structs.replace(
        certificate,
        verdict="pass" if checked.passed else "fail",
        reasons=checked.reasons,
        budget=_stated(budget),
        created=_now(),
        checked=checked,
        measured=certificate.measured if certificate.machine == here else None,
        machine=here,
        versions=certificate.versions | ({checked.serving.engine: checked.serving.version} if checked.serving else {}),
    )
    files = {name: entry for name, entry in manifest.files.items() if name not in (bundle.CERTIFICATE, bundle.REPORT)}
    _write(folder, folder, files, made, manifest)
    return made


def _write(
    out: Path, source: Path, files: Mapping[str, FileEntry], certificate: Certificate, manifest: Manifest
) -> None:
    """A bundle of these files of a folder, compared while they are copied, and what is made of the certificate."""
    from compiler.report import html, single

    bundle.require_place(out)
    with staging(out, bundle.DIGEST) as folder:
        for name, entry in files.items():
            inventory.copy(source / name, folder / name, entry)
        records.save(certificate, folder / bundle.CERTIFICATE)
        (folder / bundle.REPORT).write_text(html(single(certificate, out.name, out.name)), encoding="utf-8")
        bundle.seal(folder, manifest)


def _stated(budget: Budget) -> dict[str, float]:
    return {name: value for name, value in msgspec.structs.asdict(budget).items() if value is not None}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _interval(finding: Finding) -> str:
    """What is judged where the value is a share of a few."""
    if finding.limit is None or finding.low is None or finding.high is None:
        return ""
    low, high = (beside(end, finding.limit)[0] for end in (finding.low, finding.high))
    return f" (95 % interval {low} to {high})"


def outside(folder: str, checked: Checked, then: str = WRITTEN) -> BudgetError:
    """Every finding that is not within its limit, with the limit."""
    every = [*checked.findings, *(finding for found in checked.adapters.values() for finding in found)]
    broken = [finding for finding in every if not finding.passed]
    finer = "choose a finer --precision"
    if checked.precision == "float32":  # there is none, and such an engine errs by rounding alone
        finer = "report it with the model's config.json if the limits are not your own"
    return BudgetError(
        f"{folder}: answers are outside the accuracy budget ({', '.join(checked.reasons)})",
        found="; ".join(f"{finding.name} {finding.shown} {finding.unit}{_interval(finding)}" for finding in broken),
        expected="; ".join(
            f"{finding.name} {'<=' if finding.better == 'lower' else '>='} {finding.shown_limit}" for finding in broken
        ),
        action=f"{finer}, or allow more with --budget; {then}",
    )
