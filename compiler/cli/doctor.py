"""`compile doctor`: can this machine build and run bundles, and if not, what is missing."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli import options
from compiler.cli.progress import working

if TYPE_CHECKING:
    from compiler.profile import Profile

RUNTIME = ("transformer-compiler", "numpy", "onnxruntime", "tokenizers", "msgspec", "psutil", "click", "rich")
BUILD = ("torch", "transformers", "optimum", "onnx", "onnx-ir", "onnxscript", "safetensors", "gguf")
INSTALL_BUILD = "pip install 'transformer-compiler[build]'"


@click.command(short_help="What this machine can build and run, and what is missing.")
@options.output
def doctor(as_json: bool, verbose: bool) -> None:
    """Show versions, engines, the CPU and the GPUs, what each profile needs here, and the cache.

    Exit code 10 when no profile can be used.

    \b
    Example:
      compile doctor --json
    """
    from compiler.cli.output import emit
    from compiler.errors import EngineUnavailableError

    with working(verbose):
        findings = examine()
    if as_json:
        emit(findings)
    else:
        _show(findings)
    if not findings["usable"]:
        raise click.exceptions.Exit(EngineUnavailableError.exit_code)


def examine() -> dict[str, Any]:
    """Everything doctor reports, as plain data. `usable` names the profiles that fit and whose engine is available."""
    from compiler import profile
    from compiler.engines.nvidia import software

    machine = profile.detect()
    engines = {name: _engine(name) for name in _engine_names()}
    shipped = [profile.load(name) for name in profile.names()]
    lacking = {each.name: profile.missing(each, machine) for each in shipped}
    can_build = all(_version(name) for name in BUILD)
    return {
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "packages": {name: _version(name) for name in (*RUNTIME, *BUILD)},
        "can_build": can_build,
        "engines": engines,
        "machine": machine,
        "nvidia": software(),
        "profiles": {
            each.name: {
                "missing": lacking[each.name],
                "to_build": _to_build(each) if can_build else INSTALL_BUILD,
                "to_run": _to_run(each, engines[each.engine], lacking[each.name]),
            }
            for each in shipped
        },
        "usable": [each.name for each in shipped if not lacking[each.name] and engines[each.engine]["available"]],
        "cache": _cache(),
    }


def _engine_names() -> list[str]:
    from compiler.engines import ENGINES

    return list(ENGINES)


def _engine(name: str) -> dict[str, Any]:
    from compiler.engines import engine
    from compiler.errors import EngineUnavailableError

    try:
        return {"available": True, "version": engine(name).version(), "reason": ""}
    except EngineUnavailableError as error:
        return {"available": False, "version": None, "reason": error.found}


def _to_build(profile: Profile) -> str:
    """What is missing to build for a profile here; empty when nothing is."""
    from compiler.errors import EngineUnavailableError
    from compiler.validation.ready import ready

    try:
        ready(profile)
    except EngineUnavailableError as error:
        return error.action or error.found
    return ""


def _to_run(profile: Profile, engine: dict[str, Any], missing: tuple[str, ...]) -> str:
    """What is missing to run a bundle of a profile here with its own engine; empty when nothing is."""
    return ", ".join(filter(None, (*missing, engine["reason"])))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cache() -> dict[str, Any]:
    """Where it is and what it holds; `problem` says why it cannot be used, and `action` what to do."""
    from compiler.storage import advice, cache_folder, told, trouble
    from compiler.storage.places import existing

    folder = cache_folder()
    problem = trouble(folder)
    return {
        "folder": folder,
        "size_bytes": sum(_size(path) for path in folder.rglob("*")) if folder.is_dir() else 0,
        "free_bytes": shutil.disk_usage(existing(folder)).free,
        "problem": told(problem, folder) if problem else "",
        "action": advice(problem.errno, folder) if problem else "",
    }


def _size(path: Path) -> int:
    """Bytes of a plain file; 0 for anything else, and for what a build removes meanwhile."""
    try:
        return path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
    except OSError:
        return 0


def _show(findings: dict[str, Any]) -> None:
    from compiler.cli.output import size, table

    machine, cache = findings["machine"], findings["cache"]
    rows = [(name, version or "missing") for name, version in findings["packages"].items()]
    table(("package", "version"), [("python", findings["python"]["version"]), *rows])
    if not findings["can_build"]:
        click.echo(f"To build, not only run, bundles: {INSTALL_BUILD}")
    rows = [(name, each["version"] or each["reason"]) for name, each in findings["engines"].items()]
    table(("engine", "version, or why it is not available"), rows)
    facts = [
        ("cpu", f"{machine.cpu} ({machine.architecture})"),
        ("features", " ".join(machine.features)),
        ("cores", f"{machine.physical_cores} physical, {machine.logical_cores} logical"),
        ("memory", size(machine.memory_bytes)),
        ("cache", f"{cache['folder']}, {size(cache['size_bytes'])}"),
        ("free disk", size(cache["free_bytes"])),
    ]
    table(("", ""), facts)
    if cache["problem"]:
        click.echo(f"The cache cannot be used, and no build can end: {cache['problem']}. Do: {cache['action']}.")
    table(("NVIDIA", ""), _nvidia_rows(findings))
    needs = [
        (name, each["to_build"] or "ready", each["to_run"] or "ready") for name, each in findings["profiles"].items()
    ]
    table(("profile", "to build for it here", "to run it here"), needs)
    click.echo("Without the GPU, bundles with TensorRT plans still run, on ONNX Runtime.")
    if not findings["usable"]:
        click.echo("No shipped profile can be used here.")


def _nvidia_rows(findings: dict[str, Any]) -> list[tuple[str, str]]:
    from compiler.cli.output import size

    nvidia = findings["nvidia"]
    gpus = [
        (f"GPU {number}", f"{gpu.name}, compute capability {gpu.compute_capability}, {size(gpu.memory_bytes)}")
        for number, gpu in enumerate(findings["machine"].gpus)
    ]
    return [
        ("driver", f"CUDA {nvidia['driver']}" if nvidia["driver"] else nvidia["why_no_driver"]),
        *gpus,
        *((name, each["version"] or each["reason"]) for name, each in nvidia["tensorrt"].items()),
        ("ONNX Runtime", ", ".join(nvidia["providers"])),
    ]
