"""What a user asks for, held against the profile and the checkpoint before any heavy work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from compiler import bundle
from compiler.context import require_context
from compiler.errors import IntegrityError, UsageError
from compiler.profile import KINDS, Profile
from compiler.reading import parse_json
from compiler.records import Budget, Certificate, Kind, Manifest
from compiler.tasks import TASKS
from compiler.validation import budgets

if TYPE_CHECKING:
    from compiler.request import BuildRequest

Changes = Mapping[str, float]


def kinds(wanted: BuildRequest) -> tuple[Kind, ...]:
    """What kinds of model it may be, before the checkpoint is read."""
    return (TASKS[wanted.task].kind,) if wanted.task in TASKS else KINDS


def possible(profile: Profile, wanted: BuildRequest) -> None:
    """Raise where there is no checkpoint for which all of this could be.

    Raises:
        UsageError: a precision or a context that no checkpoint can have.
        ProfileError: the profile has no recipe for the task.
    """
    profile.chosen(kinds(wanted), wanted.precision)
    require_context(wanted.context)


def require_outside(model: str, out: Path) -> None:
    """Refuse a place in the checkpoint's folder: one file more there makes it another checkpoint. Raises UsageError."""
    folder = Path(model).expanduser()
    if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"{out} is in the checkpoint's folder",
            expected="a place outside: one file more makes it another checkpoint",
            action="choose another place with --out",
        )


def limits(
    profile: Profile,
    task: str,
    config: Mapping[str, Any],
    precision: str | None,
    changes: Changes,
    *,
    width: int | str | None = None,
) -> Budget:
    """The limits for a checkpoint, of which all that were asked for are judged.

    Args:
        config: config.json of the checkpoint.
        width: of the graph's output, where it is known.

    Raises:
        UsageError: the profile has no such precision for it, or a limit would judge nothing.
        ProfileError: the profile has no recipe for it, or nothing that limits it.
    """
    kind = TASKS[task].kind
    chosen = profile.chosen([kind], precision)
    answers = budgets.answers_of(task, config, width)
    base = profile.recipe(kind).budget_of(chosen)
    return budgets.settled(base, changes, answers, chosen, f"profile {profile.name}")


def limits_of(folder: Path, manifest: Manifest, certificate: Certificate, changes: Changes) -> Budget:
    """The same for a bundle, which was certified with limits of its own."""
    files = bundle.Files(folder, manifest)
    content = files.read("config.json") if "config.json" in files else b"{}"
    config = parse_json(content, dict[str, Any], IntegrityError, str(folder / "config.json"))
    answers = budgets.answers_of(manifest.task, config, manifest.outputs[0].shape[-1] if manifest.outputs else None)
    base = msgspec.convert(certificate.budget, Budget)
    return budgets.settled(base, changes, answers, manifest.precision, f"the certificate of {folder}")
