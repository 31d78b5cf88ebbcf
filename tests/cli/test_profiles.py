from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler import profile


def test_list_shows_every_profile(invoke) -> None:
    answer = invoke("profiles", "list")
    assert answer.code == 0
    assert all(name in answer.stdout for name in profile.names())
    rows = {row["name"]: row for row in invoke("profiles", "list", "--json").json["profiles"]}
    assert set(rows) == set(profile.names())
    assert rows[profile.auto().name]["missing"] == []
    assert rows["nvidia-h200"]["device"]["memory_gb"] == 141
    assert rows["cpu-x86-avx2"]["device"] is None
    assert "8.9, 24 GB at 300 GB/s, float32 float16" in answer.stdout


@pytest.mark.parametrize("name", ["cpu-x86-avx2", "nvidia-b200", "nvidia-onnxruntime"])
def test_show_prints_the_whole_profile_as_toml_that_loads(invoke, tmp_path: Path, name: str) -> None:
    answer = invoke("profiles", "show", name)
    path = tmp_path / "copy.toml"
    path.write_text(answer.stdout)
    assert "recipe" not in answer.stdout
    assert "[encoder.budget]\n" in answer.stdout
    assert profile.load(path) == profile.load(name)
    assert invoke("profiles", "show", "auto", "--json").json["profile"]["name"] == profile.auto().name


def test_show_an_unknown_profile(invoke) -> None:
    answer = invoke("profiles", "show", "cpu-x86-avx512-vni", "--json")
    assert answer.code == 3
    assert answer.json["error"]["action"] == 'did you mean "cpu-x86-avx512-vnni"?'


def test_detect(invoke) -> None:
    found = invoke("profiles", "detect", "--json").json
    assert found["profile"] == profile.auto().name
    assert found["machine"]["architecture"] == profile.detect().architecture
    assert profile.auto().name in invoke("profiles", "detect").stdout


def test_validate_reports_all_and_exits_3(invoke, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    shipped = invoke("profiles", "show", "cpu-x86-avx2").stdout
    path.write_text(shipped)
    assert invoke("profiles", "validate", path).code == 0
    path.write_text(shipped.replace('engine = "', 'engin = "').replace("min_cosine", "min_cosin"))
    answer = invoke("profiles", "validate", path)
    assert answer.code == 3
    assert f'{path}: engin: unknown key; did you mean "engine"?' in answer.stdout
    result = invoke("profiles", "validate", path, "--json")
    assert result.code == 3
    assert result.json["valid"] is False
    paths = {problem["path"] for problem in result.json["problems"]}
    assert paths == {"engin", "engine", "encoder.budget.min_cosin"}


def test_validate_a_missing_file_is_usage(invoke) -> None:
    assert invoke("profiles", "validate", "nowhere.toml", "--json").json["error"]["exit_code"] == 2


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_schema_is_json(invoke, flags: tuple[str, ...]) -> None:
    assert invoke("profiles", "schema", *flags).json == json.loads(json.dumps(profile.schema()))
