"""Properties of the project as a whole: its profiles, its public names, its size, its wheel."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import click.testing
import pytest

import compiler
from compiler import profile
from compiler.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
LONGEST = 300


def tracked() -> list[Path]:
    """Files that belong to the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_every_shipped_profile_loads() -> None:
    for name in profile.names():
        loaded = profile.load(name)
        assert loaded.name == name
        for recipe in (loaded.encoder, loaded.decoder):
            assert recipe.precision in recipe.precisions
            assert "float32" in recipe.precisions


def test_all_names_exist() -> None:
    """Every `__all__` names what is there, and the package's own lists its whole public face."""
    names = [module.name for module in pkgutil.walk_packages(compiler.__path__, "compiler.")]
    for name in ["compiler", *(name for name in names if not name.endswith("__main__"))]:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            assert hasattr(module, public), f"{name}.__all__ lists {public}, which is not there"
    assert {"build", "load", "__version__"} <= set(compiler.__all__)


def test_the_version_is_one() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert compiler.__version__ == declared
    assert f"## [{declared}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = click.testing.CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage: compile" in result.output or "Usage: main" in result.output


def test_modules_fit_one_reading() -> None:
    for path in tracked():
        if path.suffix == ".py":
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= LONGEST, f"{path.relative_to(ROOT)} has {lines} lines"


def test_nothing_names_a_private_place() -> None:
    """No tracked file depends on, or mentions, one person's machine."""
    private = re.compile(r"(?<![\w.])/(?:work|root|home|tmp)/\w")
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".sh", ""} and path.name != "LICENSE":
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                assert not private.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_the_wheel_ships_the_profiles_and_no_tests(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    contents = set(zipfile.ZipFile(wheel).namelist())
    assert {f"compiler/profiles/targets/{name}.toml" for name in profile.names()} <= contents
    assert "compiler/profiles/recipes/tensorrt.toml" in contents
    assert "compiler/py.typed" in contents
    assert {name.split("/")[0].split("-")[0] for name in contents} == {"compiler", "transformer_compiler"}
