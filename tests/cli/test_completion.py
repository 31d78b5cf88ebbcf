from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from compiler import profile
from compiler.records import Budget


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef compile"), ("fish", "complete")]
)
def test_the_script_of_each_shell(invoke, shell: str, mark: str) -> None:
    answer = invoke("completion", shell)
    assert answer.code == 0
    assert mark in answer.stdout
    assert "_COMPILE_COMPLETE" in answer.stdout
    assert invoke("completion", shell, "--json").json["script"].strip() == answer.stdout.strip()
    if shutil.which(shell):
        subprocess.run([shell, "-n", "-c", answer.stdout], check=True)


def test_an_unknown_shell(invoke) -> None:
    assert invoke("completion", "tcsh").code == 2


def complete(line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        **os.environ,
        "_COMPILE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "from compiler.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return [item.partition(",")[2] for item in result.stdout.splitlines()]


def test_commands_complete() -> None:
    assert complete("compile ins") == ["inspect"]


def test_profiles_complete() -> None:
    assert complete("compile build m --profile ") == ["auto", *profile.names()]
    assert complete("compile profiles show cpu-arm") == ["cpu-arm64-dotprod"]


def test_precisions_complete() -> None:
    assert complete("compile build m --precision int4") == ["int4-weights"]
    assert "float8" in complete("compile build m --profile nvidia-h100 --precision ")
    assert "int8-static" in complete("compile build m --profile cpu-x86-avx2 --precision ")


def test_targets_complete() -> None:
    assert complete("compile build m --target sm12") == ["sm120", "sm121"]


def test_budget_keys_and_tasks_complete() -> None:
    assert complete("compile build m --budget ") == [f"{key}=" for key in Budget.__struct_fields__]
    assert complete("compile build m --task text-g") == ["text-generation"]
