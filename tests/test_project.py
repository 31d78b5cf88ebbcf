"""Properties of the project as a whole: its profiles, its public names, its README, its size, its wheel."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import click
import click.testing
import pytest

import compiler
from compiler import profile
from compiler.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/decisions.md", "docs/tensorrt.md", "docs/verified.md")
LONGEST = 300


def tracked() -> list[Path]:
    """Files that belong to the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def commands(document: str) -> list[list[str]]:
    """The words of every `compile ...` command in the fenced blocks of a document."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("compile ")]


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


def test_documents_show_commands_that_exist() -> None:
    """Every word and option of every documented command line is one that the program takes."""
    shown = [(document, words) for document in DOCUMENTS for words in commands(document)]
    assert len(shown) > 5
    for document, words in shown:
        context = click.Context(main)
        found: click.Command = main
        rest = list(words)
        while isinstance(found, click.Group) and rest and not rest[0].startswith("-"):
            name, sub, rest = found.resolve_command(context, rest)
            assert sub is not None
            context, found = click.Context(sub, info_name=name, parent=context), sub
        known = {flag for option in found.get_params(context) for flag in (*option.opts, *option.secondary_opts)}
        used = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert used <= known, f"{document}: compile {shlex.join(words)}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = click.testing.CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage: compile" in result.output or "Usage: main" in result.output


def test_documents_link_to_files_that_exist() -> None:
    for document in DOCUMENTS:
        page = ROOT / document
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{document} links to {target}"


def test_the_tree_in_the_readme_is_the_tree() -> None:
    """Every file of the package that the README's tree names exists, and every part of the package is in the tree."""
    tree = re.search(r"^```text\n(compiler/\n.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert tree is not None
    named = {match[1].rstrip("/") for match in re.finditer(r"^ {4}(\S+)", tree[1], re.MULTILINE)}
    real = {
        path.name for path in (ROOT / "compiler").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named == real - {"__main__.py"}


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
