"""What `--budget` takes."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["build", "check"])
def test_an_unknown_budget_key_lists_the_known(invoke, tmp_path: Path, command: str) -> None:
    answer = invoke(command, tmp_path, "--budget", "max_perplexity=1.1", "--json")
    assert answer.code == 2
    subject = answer.json["error"]["subject"]
    assert 'unknown budget key "max_perplexity"; did you mean "max_perplexity_ratio"?' in subject
    assert "min_cosine" in subject


@pytest.mark.parametrize(
    ("value", "found", "expected"),
    [
        ("min_cosine", "no value", "KEY=VALUE"),
        ("min_cosine=", '""', "a number"),
        ("min_cosine=high", '"high"', "a number"),
        ("min_cosine=2", "2", "`float` <= 1.0"),
        ("min_cosine=nan", "nan", "a finite number"),
        ("noise_factor=inf", "inf", "a finite number"),
    ],
)
def test_a_budget_must_be_a_limit(invoke, value: str, found: str, expected: str) -> None:
    answer = invoke("build", "m", "--budget", value, "--json")
    assert answer.code == 2
    error = answer.json["error"]
    assert (error["subject"], error["found"], error["expected"]) == (f'--budget "{value}"', found, expected)
    assert error["action"]


def test_a_limit_is_given_once(invoke) -> None:
    answer = invoke("build", "m", "--budget", "min_cosine=0.99", "--budget", "min_cosine=0.5")
    assert answer.code == 2
    assert '"min_cosine" is given twice' in answer.stderr
