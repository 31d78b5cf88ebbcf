"""The last stage: a bundle from what the others made, and what a build outside its budget ends with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from compiler import bundle, inventory, profile, records
from compiler.cache import Entry
from compiler.errors import BudgetError
from compiler.profile import Budget
from compiler.records import Built, Certificate, Checked, Measured, Optimized
from compiler.stages import Event, Progress
from compiler.storage import staging


def run_seal(
    out: Path,
    *,
    built_in: Entry[Built],
    optimized: Optimized,
    checked: Checked,
    measured: Measured | None,
    budget: Budget,
    progress: Progress,
) -> Certificate:
    from compiler.report import certificate, html, single

    progress(Event("seal", str(out)))
    built = built_in.record
    files = bundle.read(built_in.folder).files
    made = certificate(
        optimized=optimized,
        built=built,
        checked=checked,
        measured=measured,
        budget={name: value for name, value in msgspec.structs.asdict(budget).items() if value is not None},
        machine=profile.detect(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with staging(out, bundle.MANIFEST) as folder:
        for name, entry in files.items():
            inventory.copy(built_in.folder / name, folder / name, entry)
        records.save(made, folder / bundle.CERTIFICATE)
        (folder / "report.html").write_text(html(single(made, out.name, out.name)), encoding="utf-8")
        bundle.seal(folder, bundle.manifest_of(optimized, built))
    return made


def outside(folder: str, checked: Checked) -> BudgetError:
    """Every finding that is not within its limit, with the limit."""
    every = [*checked.findings, *(finding for found in checked.adapters.values() for finding in found)]
    broken = [finding for finding in every if not finding.passed]
    return BudgetError(
        f"{folder}: answers left the budget ({', '.join(checked.reasons)})",
        found="; ".join(f"{finding.name} {finding.value:.4g} {finding.unit}" for finding in broken),
        expected="; ".join(
            f"{finding.name} {'<=' if finding.better == 'lower' else '>='} {finding.limit:.4g}" for finding in broken
        ),
        action="choose a finer --precision, or allow more with --budget; the bundle is written, with verdict fail",
    )
