"""Options that several commands share, how they are read, and their shell completion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def complete_path(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def complete_adapter(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Paths, also behind `NAME=`."""
    return [CompletionItem(incomplete.rpartition("=")[2], type="file")]


def complete_profile(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from compiler import profile

    return _starting(incomplete, ("auto", *profile.names())) or [CompletionItem(incomplete, type="file")]


def complete_precision(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from compiler import profile

    chosen = context.params.get("profile", "auto")
    recipes = [recipe for name in (profile.names() if chosen == "auto" else [chosen]) for recipe in _recipes(name)]
    return _starting(incomplete, sorted({precision for recipe in recipes for precision in recipe["precisions"]}))


def complete_task(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from compiler.tasks import TASKS

    return _starting(incomplete, TASKS)


def complete_target(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from compiler.engines.plans.capabilities import CAPABILITIES

    return [CompletionItem(name, help=row.gpus) for name, row in CAPABILITIES.items() if name.startswith(incomplete)]


def complete_budget(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from compiler.records import Budget

    return _starting(incomplete, [f"{key}=" for key in Budget.__struct_fields__])


def read_task(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A task by our name. Raises UsageError."""
    from compiler.tasks import canonical

    return None if value is None else canonical(value)


def read_targets(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Targets, each once."""
    from compiler.engines.plans.capabilities import CAPABILITIES
    from compiler.errors import did_you_mean

    for value in values:
        if value not in CAPABILITIES:
            known = ", ".join(f"{name} ({row.gpus})" for name, row in CAPABILITIES.items())
            raise click.BadParameter(f'unknown target "{value}"; {did_you_mean(value, CAPABILITIES)} known: {known}')
    return tuple(dict.fromkeys(values))


def read_budget(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """`KEY=VALUE`, each checked against `compiler.records.Budget`."""
    import math

    import msgspec

    from compiler.errors import UsageError, did_you_mean
    from compiler.records import Budget

    known = Budget.__struct_fields__
    limits: dict[str, float] = {}
    for value in values:
        key, separator, number = value.partition("=")
        if key not in known:
            hint = did_you_mean(key, known)
            raise click.BadParameter(f'unknown budget key "{key}"; {hint} known: {", ".join(known)}')
        if not separator:
            raise UsageError(f'--budget "{value}"', found="no value", expected="KEY=VALUE", action="name the limit")
        if key in limits:
            raise click.BadParameter(f'"{key}" is given twice')
        try:
            limits[key] = float(number)
        except ValueError as error:
            raise UsageError(
                f'--budget "{value}"', found=f'"{number}"', expected="a number", action="name the limit"
            ) from error
        if not math.isfinite(limits[key]):
            raise UsageError(f'--budget "{value}"', found=number, expected="a finite number", action="name a limit")
        try:
            msgspec.convert({key: limits[key]}, Budget)
        except msgspec.ValidationError as error:
            wanted = str(error).partition(" - at")[0].removeprefix("Expected ")
            raise UsageError(
                f'--budget "{value}"', found=number, expected=wanted, action="name such a limit"
            ) from error
    return limits


def output(command: Command) -> Command:
    """`--json` and `--verbose`, which every command has."""
    command = click.option("--verbose", is_flag=True, help="Show libraries' messages, and tracebacks.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


# An option for every field of a request, in the order of the help.
FIELDS: dict[str, Callable[[Any], Any]] = {
    "model": click.argument("model", shell_complete=complete_path),
    "profile": click.option(
        "--profile",
        metavar="NAME|FILE",
        default="auto",
        show_default=True,
        shell_complete=complete_profile,
        help="One of `compile profiles list`, a TOML file, or auto: the best for this machine.",
    ),
    "task": click.option(
        "--task",
        metavar="NAME",
        callback=read_task,
        shell_complete=complete_task,
        help="What the model is for.  [default: from the checkpoint]",
    ),
    "precision": click.option(
        "--precision",
        shell_complete=complete_precision,
        metavar="NAME",
        help="One of the profile's precisions.  [default: the profile's choice]",
    ),
    "revision": click.option("--revision", metavar="NAME", help="Branch, tag or commit on the hub."),
    "adapters": click.option(
        "--adapter",
        "adapters",
        metavar="[NAME=]PATH",
        multiple=True,
        shell_complete=complete_adapter,
        help="A PEFT adapter to compile in. Several, or NAME=PATH: LoRA kept apart, chosen at run time. Repeatable.",
    ),
    "adapter_base": click.option(
        "--adapter-base", metavar="NAME", help="The name of MODEL that the adapters record, if it differs."
    ),
    "context": click.option("--context", type=int, metavar="N", help="Check and promise texts of up to N tokens."),
    "budget": click.option(
        "--budget",
        metavar="KEY=VALUE",
        multiple=True,
        callback=read_budget,
        shell_complete=complete_budget,
        help="Replace one limit of the profile's budget. Repeatable.",
    ),
    "targets": click.option(
        "--target",
        "targets",
        metavar="smNN",
        multiple=True,
        callback=read_targets,
        shell_complete=complete_target,
        help="A compute capability to build a plan for, such as sm89. Repeatable.  [default: the profile's]",
    ),
    "traffic": click.option(
        "--traffic",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        shell_complete=complete_path,
        help=(
            "Make the plans' shapes from recorded requests: a line for each, its tokens as 37, "
            'or {"batch": 4, "tokens": 37}. Longer requests than any of these do not fit the plans.'
        ),
    ),
    "strict": click.option(
        "--strict", is_flag=True, help="Fail when a pass changes answers, instead of leaving it out."
    ),
    "allow_pickle": click.option(
        "--allow-pickle", is_flag=True, help="Load pickled weights. They can run code: only if you trust the source."
    ),
    "bench": click.option(
        "--no-bench", "bench", flag_value=False, default=True, help="Measure neither speed nor memory."
    ),
}
profile, precision, budget, strict = (FIELDS[name] for name in ("profile", "precision", "budget", "strict"))
reference = click.option(
    "--reference",
    metavar="MODEL",
    shell_complete=complete_path,
    help="The checkpoint.  [default: the hub, or where a build on this machine found it]",
)
reference_adapter = click.option(
    "--adapter",
    "adapters",
    metavar="[NAME=]PATH",
    multiple=True,
    shell_complete=complete_adapter,
    help="Where an adapter that the bundle was built with is now. Repeatable.",
)
out = click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write.  [default: under artifacts/]",
)


def request(*names: str) -> Callable[[Command], Command]:
    """The options for these fields of a request, by the fields' names."""

    def add(command: Command) -> Command:
        for name in reversed(FIELDS):
            if name in names:
                command = FIELDS[name](command)
        return command

    return add


def _starting(incomplete: str, words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _recipes(name: str) -> list[dict[str, Any]]:
    """The recipes of a profile; none when it has mistakes, as completion stays silent."""
    from compiler import profile
    from compiler.errors import ProfileError

    try:
        raw = profile.whole(profile.read(profile.find(name)))
    except (OSError, ValueError, ProfileError):
        return []
    recipes = (raw.get(kind) for kind in profile.KINDS)
    return [recipe for recipe in recipes if isinstance(recipe, dict) and isinstance(recipe.get("precisions"), dict)]
