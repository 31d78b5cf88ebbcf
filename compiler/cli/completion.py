"""`compile completion`: shell completion of commands, options, profiles, precisions and paths."""

from __future__ import annotations

import click

from compiler.cli import options


@click.command(short_help="A script for shell completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@options.output
def completion(shell: str, as_json: bool, verbose: bool) -> None:
    """Print the script that lets SHELL complete commands, options, profiles, precisions and paths.

    \b
    Examples:
      compile completion bash >> ~/.bashrc
      compile completion zsh >> ~/.zshrc
      compile completion fish > ~/.config/fish/completions/compile.fish
    """
    from click.shell_completion import get_completion_class

    from compiler.cli import main
    from compiler.cli.output import emit

    kind = get_completion_class(shell)
    assert kind is not None, "click completes the shells of the choice above"
    script = kind(main, {}, "compile", "_COMPILE_COMPLETE").source()
    if as_json:
        emit({"shell": shell, "script": script})
    else:
        click.echo(script)
