"""`compile profiles`: the hardware targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli import options

if TYPE_CHECKING:
    from compiler.profile import Device


@click.group(short_help="The hardware targets: list, show, detect, validate, schema.")
def profiles() -> None:
    """The hardware targets that ship with the compiler, and checks for your own."""


@profiles.command("list")
@options.output
def list_(as_json: bool, verbose: bool) -> None:
    """List the shipped profiles, what their GPUs can do, and which this machine satisfies."""
    from compiler import profile
    from compiler.cli.output import emit, table

    machine = profile.detect()
    known = [profile.load(name) for name in profile.names()]
    lacking = {each.name: profile.missing(each, machine) for each in known}
    if as_json:
        rows = [
            {
                "name": each.name,
                "description": each.description,
                "engine": each.engine,
                "device": each.device,
                "missing": lacking[each.name],
            }
            for each in known
        ]
        emit({"profiles": rows})
        return
    table(
        ("profile", "what it is for", "engine", "GPU", "this machine"),
        [
            (
                each.name,
                each.description,
                each.engine,
                _facts(each.device),
                f"lacks {', '.join(lacking[each.name])}" if lacking[each.name] else "fits",
            )
            for each in known
        ],
    )


@profiles.command()
@click.argument("name", shell_complete=options.complete_profile)
@options.output
def show(name: str, as_json: bool, verbose: bool) -> None:
    """Print a profile with its recipe as TOML, a start for one of your own.

    \b
    Example:
      compile profiles show cpu-x86-avx2 > mine.toml
    """
    from compiler import profile
    from compiler.cli.output import emit

    loaded = profile.load(name)
    if as_json:
        emit({"profile": loaded})
    else:
        path = profile.find(loaded.name if name == "auto" else name)
        click.echo(profile.text(path), nl=False)


@profiles.command()
@options.output
def detect(as_json: bool, verbose: bool) -> None:
    """Show what this machine is and which profile `auto` takes."""
    from compiler import profile
    from compiler.cli.output import emit, size, table

    machine = profile.detect()
    chosen = profile.auto(machine)
    if as_json:
        emit({"profile": chosen.name, "machine": machine})
        return
    rows = [
        ("profile", chosen.name),
        ("cpu", machine.cpu),
        ("architecture", machine.architecture),
        ("features", " ".join(machine.features)),
        ("cores", f"{machine.physical_cores} physical, {machine.logical_cores} logical"),
        ("memory", size(machine.memory_bytes)),
        *(("gpu", f"{gpu.name}, {gpu.compute_capability}, {size(gpu.memory_bytes)}") for gpu in machine.gpus),
    ]
    table(("", ""), rows)


@profiles.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.output
def validate(file: Path, as_json: bool, verbose: bool) -> None:
    """Report every mistake in FILE at once. Exit code 3 when there are any.

    \b
    Example:
      compile profiles validate mine.toml
    """
    from compiler import profile
    from compiler.cli.output import emit
    from compiler.errors import ProfileError

    problems = profile.validate(file)
    if as_json:
        emit({"file": file, "valid": not problems, "problems": problems})
    else:
        click.echo("\n".join(f"{file}: {problem.text}" for problem in problems) or f"{file}: no mistakes")
    if problems:
        raise click.exceptions.Exit(ProfileError.exit_code)


@profiles.command()
@options.output
def schema(as_json: bool, verbose: bool) -> None:
    """Print the JSON Schema of a profile, for editors that check TOML."""
    from compiler import profile
    from compiler.cli.output import emit

    emit(profile.schema())


def _facts(device: Device | None) -> str:
    """The facts that decide, in one line."""
    if device is None:
        return ""
    formats = " ".join(device.precisions)
    return f"{device.compute_capability}, {device.memory_gb:g} GB at {device.bandwidth_gb_s:g} GB/s, {formats}"
