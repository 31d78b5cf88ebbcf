from __future__ import annotations

import subprocess
import sys

import pytest

import compiler
from compiler.cli import COMMANDS

HEAVY = ("torch", "transformers", "numpy", "onnxruntime", "onnx", "onnx_ir", "rich", "tokenizers")


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom compiler.cli import main\n"
        "for words in (['--help'], ['build', '--help'], ['run', '--help'], ['completion', 'fish']):\n"
        "    assert CliRunner().invoke(main, words).exit_code == 0, words\n"
        f"print(*(set({HEAVY!r}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(invoke, name: str) -> None:
    answer = invoke(name, "--help")
    assert answer.code == 0
    assert answer.stdout.startswith(f"Usage: compile {name}")
    if name != "profiles":
        assert f"compile {name} " in answer.stdout.split("Example", 1)[1]
        assert "--json" in answer.stdout


@pytest.mark.parametrize("name", ["list", "show", "detect", "validate", "schema"])
def test_every_subcommand_of_profiles_has_json(invoke, name: str) -> None:
    assert "--json" in invoke("profiles", name, "--help").stdout


def test_help_lists_every_command_and_exit_code(invoke) -> None:
    text = invoke("--help").stdout
    assert all(f"  {name} " in text for name in COMMANDS)
    assert "8 outside the budget" in text


def test_version(invoke) -> None:
    assert compiler.__version__ in invoke("--version").stdout


def test_an_unknown_command_gets_a_suggestion(invoke) -> None:
    answer = invoke("biuld")
    assert answer.code == 2
    assert 'did you mean "build"?' in answer.stderr
    assert answer.stdout == ""


def test_no_command_is_a_usage_error_that_shows_the_help(invoke) -> None:
    answer = invoke()
    assert answer.code == 2
    assert "Commands:" in answer.stderr


def test_a_usage_error_as_json(invoke) -> None:
    answer = invoke("build", "--json")
    assert answer.code == 2
    error = answer.json["error"]
    assert error["kind"] == "UsageError"
    assert error["exit_code"] == 2
    assert "MODEL" in error["subject"]
    assert error["action"] == "see `compile build --help`"


def test_the_program_ends_with_the_exit_code() -> None:
    code = "from compiler.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "profiles", "show", "nothing", "--json"], check=False, capture_output=True
    )
    assert result.returncode == 3
    assert result.stderr == b""
