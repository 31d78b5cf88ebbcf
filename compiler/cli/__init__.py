"""The command line. One file per command, imported only when its command is asked for.

Only this package prints and exits: results on stdout, progress and errors on stderr, `--json` for one object on stdout.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from compiler import __version__
from compiler.cli.failure import exit_with, interruptible

COMMANDS: dict[str, str] = {
    "build": "compiler.cli.build:build",
    "export": "compiler.cli.export:export",
    "optimize": "compiler.cli.optimize:optimize",
    "check": "compiler.cli.check:check",
    "bench": "compiler.cli.bench:bench",
    "compare": "compiler.cli.compare:compare",
    "eval": "compiler.cli.eval:evaluate",
    "report": "compiler.cli.report:report",
    "run": "compiler.cli.run:run",
    "inspect": "compiler.cli.inspect:inspect",
    "profiles": "compiler.cli.profiles:profiles",
    "doctor": "compiler.cli.doctor:doctor",
    "completion": "compiler.cli.completion:completion",
}


class Program(click.Group):
    """A group that loads commands on demand and turns every failure into a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from compiler.errors import did_you_mean

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"No such command '{args[0]}'. {did_you_mean(args[0], COMMANDS)}".strip())
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        run = partial(super().main, words, "compile", complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            with interruptible():
                result: Any = run()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the one place where everything ends)
            exit_with(error, words)
        sys.exit(result if isinstance(result, int) else 0)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="compile")
def main() -> None:
    """Compile a transformer checkpoint to a fast engine, and prove that its answers stayed the same.

    \b
    Examples:
      compile build sentence-transformers/all-MiniLM-L6-v2
      compile build model.gguf --precision int4-weights --budget max_perplexity_ratio=1.02
      compile run artifacts/model --prompt "The capital of France is"

    \b
    Exit codes:
      0 done and within budget     6 optimization pass        11 a bundle's file was changed
      1 unexpected error           7 engine build             12 disk full or not writable
      2 wrong usage                8 outside the budget      130 interrupted
      3 profile                    9 regression
      4 checkpoint                10 engine or profile does
      5 export                       not fit this machine
    """
