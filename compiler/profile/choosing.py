"""Which profile fits a machine, and what its engine is opened with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from compiler.errors import EngineUnavailableError, ProfileError, UsageError
from compiler.machine import detect
from compiler.profile.content import Profile
from compiler.profile.files import Problem, find, names, normalized, read, whole
from compiler.records import EngineOptions, Kind, Machine, PlanOptions, Requires, Shapes


def load(name_or_path: str | Path) -> Profile:
    """Read a shipped profile by name, "auto", or any TOML file by path.

    Raises:
        ProfileError: no such profile, or mistakes in it; the message lists all of them.
        EngineUnavailableError: "auto", and this machine satisfies no shipped profile.
    """
    if name_or_path == "auto":
        return auto()
    path = find(name_or_path)
    if mistakes := validate(path):
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        raise ProfileError(
            f"{path}: {len(mistakes)} {noun} in this profile",
            found=f"\n{' ' * 12}".join(mistake.text for mistake in mistakes),
            action="correct them; `compile profiles schema` prints what a profile may hold",
        )
    return msgspec.convert(normalized(whole(read(path))), Profile)


def validate(path: Path) -> list[Problem]:
    """All mistakes in a profile file at once; empty when `load` takes it.

    Names and options of passes are checked where the `build` extra is installed.
    """
    from compiler.validation import problems

    return problems(path)


def schema() -> dict[str, Any]:
    """JSON Schema of a profile file, for editors."""
    from compiler.validation import profile_schema

    return profile_schema()


def ranked() -> list[Profile]:
    """The shipped profiles that `auto` may take, the fastest machine's first."""
    return sorted((profile for name in names() if (profile := load(name)).rank), key=lambda profile: profile.rank)


def missing(profile: Profile, machine: Machine) -> tuple[str, ...]:
    """What `machine` lacks of the profile's requirements; empty when it can run it."""
    needs = profile.requires
    if needs.architecture != machine.architecture:
        return (needs.architecture,)
    features = tuple(feature for feature in needs.features if feature not in machine.features)
    return (*features, *_missing_gpu(needs, machine))


def auto(machine: Machine | None = None) -> Profile:
    """The profile of the GPU in `machine` (default: this one) if its engine can be used, otherwise its CPU's.

    Raises:
        EngineUnavailableError: it satisfies none.
    """
    here = machine or detect()
    profiles = [profile for profile in ranked() if here.gpus or not profile.requires.gpu]
    fitting = [profile for profile in profiles if not missing(profile, here)]
    for profile in sorted(fitting, key=lambda profile: not _names_gpu(profile, here)):
        if not profile.requires.gpu or usable(profile):
            return profile
    nearest = min(profiles, key=lambda profile: len(missing(profile, here)))
    raise EngineUnavailableError(
        f"no shipped profile fits this machine ({here.cpu}, {here.architecture})",
        found=f"{nearest.name}, the nearest, needs {', '.join(missing(nearest, here))}",
        expected=f"one of {', '.join(profile.name for profile in profiles)}",
        action="write a profile for it and pass its path; `compile profiles show NAME` prints one to start from",
    )


def usable(profile: Profile) -> bool:
    """Whether the profile's engine could build here, and run what it built on the GPU."""
    from compiler.engines import engine

    try:
        chosen = engine(profile.engine)
        chosen.ready(engine_options(profile, "encoder"))
    except EngineUnavailableError:
        return False
    return chosen.why_not_whole() is None


def engine_options(
    profile: Profile, kind: Kind, *, targets: Sequence[str] = (), shapes: Sequence[Shapes] = ()
) -> EngineOptions:
    """What the profile's engine builds and opens a model of this kind with.

    Args:
        profile: the profile.
        kind: of the model.
        targets: compute capabilities to build plans for, as in "sm89"; none means those of the profile, or that of
            the GPU which it requires.
        shapes: buckets that replace those of the recipe.

    Raises:
        ProfileError: the profile has no recipe for this kind.
        UsageError: shapes for an engine that builds no plans, or targets for one that does not build ahead.
    """
    from compiler.engines import known, planning

    recipe, built = profile.recipe(kind), known(profile.engine).plans
    if (targets and built != "ahead") or (shapes and built == "none"):
        raise UsageError(
            f'profile {profile.name} takes no {"targets" if targets else "traffic"}: its engine is "{profile.engine}"',
            expected=f"a profile with the engine {_quoted(planning('ahead'))}, which builds plans",
            action=f"choose one with --profile, such as {_example()}; `compile profiles list` shows all",
        )
    options = EngineOptions(threads=profile.threads, cuda_graph=profile.cuda_graph)
    if built == "none":
        return options
    base = profile.plans or PlanOptions()
    wanted = tuple(targets) or base.targets
    if not wanted and built == "ahead":
        wanted = (target_of(profile.requires.compute_capability),)
    plans = msgspec.structs.replace(base, targets=tuple(dict.fromkeys(wanted)), shapes=tuple(shapes) or recipe.shapes)
    return msgspec.structs.replace(options, plans=plans)


def _example() -> str:
    """A shipped profile whose plans are built ahead."""
    from compiler.engines import planning

    return next(profile.name for profile in ranked() if profile.engine in planning("ahead"))


def _quoted(engines: Sequence[str]) -> str:
    return " or ".join(f'"{name}"' for name in engines)


def target_of(compute_capability: str) -> str:
    """ "8.9" as "sm89"."""
    return f"sm{compute_capability.replace('.', '')}"


def _missing_gpu(needs: Requires, machine: Machine) -> tuple[str, ...]:
    exact, least = needs.compute_capability, needs.min_compute_capability
    here = [gpu.compute_capability for gpu in machine.gpus]
    if not exact and not least:
        return ()
    if any((not exact or each == exact) and (not least or _version(each) >= _version(least)) for each in here):
        return ()
    found = f", not {', '.join(here)}" if here else ""
    return (f"an NVIDIA GPU of compute capability {exact or f'{least} or later'}{found}",)


def _version(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))


def _names_gpu(profile: Profile, machine: Machine) -> bool:
    """Whether the profile is for a GPU of exactly this name: "L4" is in "NVIDIA L4", not in "NVIDIA L40S"."""
    names = profile.device.gpu_names if profile.device else ()
    return any(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", gpu.name, re.IGNORECASE) for name in names for gpu in machine.gpus
    )
