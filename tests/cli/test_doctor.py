from __future__ import annotations

import ctypes.util
from pathlib import Path

import msgspec
import pytest

from compiler import profile
from compiler.cli import doctor
from compiler.driver import Device
from compiler.errors import EngineUnavailableError
from compiler.records import Gpu

GPU = Device(name="NVIDIA L4", compute_capability="8.9", memory_bytes=24 * 10**9, driver="13.0")


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
    assert set(found["nvidia"]["tensorrt"]) == {"tensorrt", "tensorrt-rtx"}
    assert "CPUExecutionProvider" in found["nvidia"]["providers"]


def test_doctor_warns_of_a_cache_that_cannot_be_used(invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "The cache cannot be used" not in invoke("doctor").stdout
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "file"))
    found = invoke("doctor", "--json").json["cache"]
    assert found["problem"] == f"Not a directory: {tmp_path / 'file'}"
    assert found["action"] == (
        "move the file that stands where a folder has to be, or set TRANSFORMER_COMPILER_CACHE to another folder"
    )
    answer = invoke("doctor")
    assert answer.code == 0  # bundles run without a cache
    assert f"The cache cannot be used, and no build can end: {found['problem']}." in answer.stdout


def test_doctor_for_a_person(invoke) -> None:
    answer = invoke("doctor")
    assert answer.code == 0
    words = ("python", "onnxruntime-cpu", "cache", "free disk", "driver", "tensorrt-rtx", "CPUExecutionProvider")
    for word in (*words, *profile.names()):
        assert word in answer.stdout


@pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="there is an NVIDIA driver")
def test_doctor_says_what_each_profile_needs_without_a_gpu(invoke) -> None:
    found = invoke("doctor", "--json").json
    assert found["machine"]["gpus"] == []
    assert found["nvidia"]["driver"] is None
    assert found["nvidia"]["why_no_driver"]
    needs = found["profiles"]
    own = needs[profile.auto().name]
    assert (own["to_build"], own["to_run"]) == ("", "")
    assert needs["nvidia-l4"]["to_run"] == "an NVIDIA GPU of compute capability 8.9"
    assert needs["jetson-orin"]["to_run"]
    assert "pip install 'transformer-compiler[tensorrt]'" in needs["nvidia-h100"]["to_build"]


def test_doctor_builds_ahead_with_tensorrt_for_rtx(invoke) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
    found = invoke("doctor", "--json").json
    assert found["nvidia"]["tensorrt"]["tensorrt-rtx"]["version"].count(".") == 3
    assert found["profiles"]["nvidia-l4"]["to_build"] == ""


def test_doctor_shows_the_gpu(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = msgspec.structs.replace(profile.detect(), gpus=(Gpu(**GPU._asdict()),), architecture="x86_64")
    monkeypatch.setattr("compiler.driver.devices", lambda: (GPU,))
    monkeypatch.setattr("compiler.profile.detect", lambda: machine)
    found = invoke("doctor", "--json").json
    assert found["nvidia"]["driver"] == "13.0"
    assert found["profiles"]["nvidia-l4"]["to_run"] == ""
    assert found["profiles"]["nvidia-h100"]["to_run"] == "an NVIDIA GPU of compute capability 9.0, not 8.9"
    answer = invoke("doctor")
    assert "CUDA 13.0" in answer.stdout
    assert "NVIDIA L4, compute capability 8.9, 24.0 GB" in answer.stdout


def test_doctor_says_when_nothing_can_run_here(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(name: str) -> None:
        raise EngineUnavailableError(name, found="pip install onnxruntime")

    monkeypatch.setattr("compiler.engines.engine", unavailable)
    answer = invoke("doctor")
    assert answer.code == 10
    assert "pip install onnxruntime" in answer.stdout
    assert "No shipped profile can be used here" in answer.stdout
    assert invoke("doctor", "--json").json["usable"] == []


def test_doctor_without_the_build_extra(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else version(name))
    found = invoke("doctor", "--json").json
    assert found["can_build"] is False
    assert {each["to_build"] for each in found["profiles"].values()} == {"pip install 'transformer-compiler[build]'"}
    assert "To build, not only run" in invoke("doctor").stdout
