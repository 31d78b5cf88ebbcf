"""Options that several commands share, their types and their shell completion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class ModelType(click.ParamType):
    """A hub id, or the path of a folder or a file."""

    name = "model"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class ProfileType(click.ParamType):
    """A shipped profile's name, "auto", or the path of a TOML file."""

    name = "profile"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from compiler import profile

        known = [CompletionItem(name) for name in ("auto", *profile.names()) if name.startswith(incomplete)]
        return known or [CompletionItem(incomplete, type="file")]


class PrecisionType(click.ParamType):
    """A key of the profile's `precisions`."""

    name = "precision"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from compiler import profile

        chosen = ctx.params.get("profile")
        names = [chosen] if chosen and chosen != "auto" else list(profile.names())
        recipes = [recipe for name in names for recipe in _recipes(name)]
        known = sorted({precision for recipe in recipes for precision in recipe.get("precisions", {})})
        return [CompletionItem(precision) for precision in known if precision.startswith(incomplete)]


class BudgetType(click.ParamType):
    """`KEY=VALUE` of a profile's budget."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        import msgspec

        from compiler.errors import did_you_mean
        from compiler.profile import Budget

        key, equals, number = str(value).partition("=")
        known = Budget.__struct_fields__
        if key not in known:
            self.fail(f'unknown budget key "{key}"; {did_you_mean(key, known)} known: {", ".join(known)}', param, ctx)
        try:
            limit = float(number)
            msgspec.convert({key: limit}, Budget)
        except (ValueError, msgspec.ValidationError) as error:
            problem = str(error).split(" - at")[0] if equals else f"write {key}=NUMBER"
            self.fail(f'"{value}" is not a limit: {problem}', param, ctx)
        return key, limit

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from compiler.profile import Budget

        return [CompletionItem(f"{key}=") for key in Budget.__struct_fields__ if key.startswith(incomplete)]


class TaskType(click.ParamType):
    """A row of `compiler.tasks.TASKS`."""

    name = "task"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from compiler.errors import did_you_mean
        from compiler.tasks import TASKS

        if value not in TASKS:
            self.fail(f'unknown task "{value}"; {did_you_mean(value, TASKS)} known: {", ".join(TASKS)}', param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from compiler.tasks import TASKS

        rows = TASKS.items()
        return [CompletionItem(name, help=task.help) for name, task in rows if name.startswith(incomplete)]


def output(command: Command) -> Command:
    """`--json` and `--verbose`, which every command has."""
    command = click.option("--verbose", is_flag=True, help="Show libraries' messages, and tracebacks.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


profile = click.option(
    "--profile",
    type=ProfileType(),
    default="auto",
    show_default=True,
    help="A name from `compile profiles list`, a TOML file, or auto: the best for this machine.",
)
precision = click.option("--precision", type=PrecisionType(), help="Instead of the profile's default precision.")
task = click.option("--task", type=TaskType(), help="What the model is for.  [default: from the checkpoint]")
revision = click.option("--revision", help="Branch, tag or commit on the hub.")
allow_pickle = click.option(
    "--allow-pickle", is_flag=True, help="Load pickled weights. They can run code: only if you trust the source."
)
strict = click.option("--strict", is_flag=True, help="Fail when a pass changes answers, instead of leaving it out.")
reference = click.option(
    "--reference", type=ModelType(), metavar="MODEL", help="The checkpoint.  [default: where the bundle came from]"
)
out = click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder to write.")
budget = click.option(
    "--budget", "budget", type=BudgetType(), multiple=True, help="Replace one limit of the profile. Repeatable."
)


def _recipes(name: str) -> list[dict[str, Any]]:
    """The recipes of a profile as written; none when it cannot be read, as completion stays silent."""
    from compiler import profile

    try:
        raw = profile.read(profile.find(name))
    except (OSError, ValueError, profile.ProfileError):
        return []
    return [raw[kind] for kind in ("encoder", "decoder") if isinstance(raw.get(kind), dict)]
