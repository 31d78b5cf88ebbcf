from __future__ import annotations

from pathlib import Path

import pytest

from compiler import profile
from compiler.errors import EngineUnavailableError


def test_doctor_as_json(invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path))
    (tmp_path / "entry").write_bytes(b"x" * 123)
    answer = invoke("doctor", "--json")
    assert answer.code == 0
    found = answer.json
    assert found["cache"]["folder"] == str(tmp_path)
    assert found["cache"]["size_bytes"] == 123
    assert found["cache"]["free_bytes"] > 0
    assert found["packages"]["msgspec"]
    assert found["engines"]["onnxruntime-cpu"]["available"] is True
    assert profile.auto().name in found["usable"]
    assert set(found["profiles"]) == set(profile.names())


def test_doctor_for_a_person(invoke) -> None:
    answer = invoke("doctor")
    assert answer.code == 0
    for word in ("python", "onnxruntime-cpu", "cache", "free disk", *profile.names()):
        assert word in answer.stdout


def test_doctor_says_when_nothing_can_run_here(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(name: str) -> None:
        raise EngineUnavailableError(name, found="pip install onnxruntime")

    monkeypatch.setattr("compiler.engines.engine", unavailable)
    answer = invoke("doctor")
    assert answer.code == 10
    assert "pip install onnxruntime" in answer.stdout
    assert "No shipped profile can be used here" in answer.stdout
    assert invoke("doctor", "--json").json["usable"] == []
