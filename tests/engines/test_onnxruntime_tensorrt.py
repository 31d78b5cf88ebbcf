"""ONNX Runtime's TensorRT provider as far as a machine without a GPU goes: what it refuses, and what it may read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from compiler import driver
from compiler.engines import engine
from compiler.engines.onnxruntime import tensorrt as engine_module
from compiler.engines.onnxruntime.tensorrt import building, installed, opening, packing
from compiler.engines.onnxruntime.tensorrt.provider import provider
from compiler.errors import EngineError, EngineUnavailableError, IntegrityError
from compiler.records import Built, EngineOptions, Placement, Plan, PlanOptions, Tensor
from tests import models
from tests.engines.test_onnxruntime_cpu import optimized

INPUTS = (
    Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),
    Tensor(name="past", dtype="float16", shape=("batch", 2, 64, 16)),
    Tensor(name="fixed", dtype="int64", shape=(1,)),
)
PROFILES = (
    {"input_ids": ((1, 1), (1, 8), (4, 64)), "past": ((1, 2, 64, 16),) * 3, "fixed": ((1,), (1,), (1,))},
    {"input_ids": ((8, 1), (8, 8), (8, 8)), "past": ((8, 2, 64, 16),) * 3, "fixed": ((1,), (1,), (1,))},
)


@pytest.fixture
def provided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and an ONNX Runtime for it."""
    monkeypatch.setattr(driver, "devices", lambda: ("a GPU",))
    monkeypatch.setattr(driver, "why_none", lambda: "")
    offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)


@pytest.mark.usefixtures("provided")
def test_without_tensorrt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "MAJOR", 9)  # of which no machine has libraries
    installed._library.cache_clear()
    monkeypatch.setattr(installed, "_other_release", lambda: None)
    with pytest.raises(EngineUnavailableError, match=r"libnvinfer\.so\.9.*pip install .tensorrt-cu\d+>=9,<10"):
        engine("onnxruntime-tensorrt")


@pytest.mark.usefixtures("provided")
def test_another_release_of_tensorrt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "MAJOR", 9)
    installed._library.cache_clear()
    monkeypatch.setattr(installed, "_other_release", lambda: "11.4.0.106")
    with pytest.raises(EngineUnavailableError, match=r"TensorRT 11\.4\.0\.106 is installed.*needs TensorRT 9"):
        engine("onnxruntime-tensorrt")


def test_settings_hold_every_bucket_of_the_dynamic_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "cache"))
    options = EngineOptions(plans=PlanOptions(optimization_level=4, workspace_bytes=1 << 30))
    made = provider(options, tmp_path, INPUTS, PROFILES)
    assert made.settings["trt_profile_min_shapes"] == ("input_ids:1x1,past:1x2x64x16,input_ids:8x1,past:8x2x64x16")
    assert made.settings["trt_profile_max_shapes"].startswith("input_ids:4x64,")
    assert made.settings["trt_engine_cache_path"] == str(tmp_path)
    assert made.settings["trt_builder_optimization_level"] == "4"
    assert made.settings["trt_max_workspace_size"] == str(1 << 30)
    assert not any("fp16" in name or "int8" in name for name in made.settings)
    assert [name for name, _ in made.chain] == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


def test_engines_come_back_as_they_were(tmp_path: Path) -> None:
    for name in ("one.engine", "one.profile", "device.timing"):
        (tmp_path / name).write_bytes(name.encode())
    content = packing.pack(tmp_path)
    assert packing.pack(tmp_path) == content
    (tmp_path / "out").mkdir()
    packing.unpack(content, tmp_path / "out")
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert found == {"one.engine": "one.engine", "one.profile": "one.profile"}


@pytest.mark.parametrize("name", ["../elsewhere.engine", "/elsewhere.engine", "library.so", "a/b.engine"])
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(IntegrityError, match="does not belong"):
        packing.unpack(content.getvalue(), tmp_path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        packing.unpack(b"not an archive", tmp_path)
    assert list(tmp_path.iterdir()) == []


def plan(folder: Path, **changes: Any) -> Plan:
    """A plan whose file holds one engine, in a bundle at `folder`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("graph_sm89.engine", b"kernels")
    file = packing.file_name("sm89")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content.getvalue())
    values: dict[str, Any] = {
        "target": "sm89",
        "file": file,
        "sha256": hashlib.sha256(content.getvalue()).hexdigest(),
        "size": len(content.getvalue()),
        "flavor": "tensorrt",
        "version": "10.13.3",
        "flags": (),
        "optimization_level": 3,
        "shapes": PROFILES,
        "inputs": INPUTS,
        "outputs": (),
        "layers": (),
        "model_sha256": "0",
        "key": "0",
        "seconds": 0,
    }
    return Plan(**{**values, **changes})


@pytest.fixture
def ada(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with an sm89 GPU and TensorRT 10.13.3."""
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "target", lambda _: "sm89")
    monkeypatch.setattr(opening, "library_version", lambda: "10.13.3")


class Opened:
    """In the place of a session: notes what it was given, and does with the engines what `meddles` says."""

    meddles = False
    folder: Path | None = None
    engines: dict[str, bytes]

    def __init__(self, model: Path, options: EngineOptions, chosen: Any) -> None:
        folder = Path(chosen.settings["trt_engine_cache_path"])
        Opened.folder = folder
        Opened.engines = {path.name: path.read_bytes() for path in folder.iterdir()}
        if Opened.meddles:
            (folder / "another_sm89.engine").write_bytes(b"new kernels")

    def close(self) -> None:
        pass


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("meddles", [False, True])
def test_only_a_private_copy_of_verified_engines_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meddles: bool
) -> None:
    monkeypatch.setattr(opening, "OnnxRuntimeSession", Opened)
    monkeypatch.setattr(Opened, "meddles", meddles)
    bundle = tmp_path / "bundle"
    plans = [plan(bundle, target="sm90", file="plans/other.zip"), plan(bundle)]
    if meddles:
        with pytest.raises(EngineError, match="compiled its own"):
            opening.open_verified(bundle / "model.onnx", EngineOptions(), plans)
    else:
        opening.open_verified(bundle / "model.onnx", EngineOptions(), plans)
    assert Opened.engines == {"graph_sm89.engine": b"kernels"}
    assert Opened.folder is not None
    assert not Opened.folder.exists()
    assert [path.name for path in (bundle / "plans").iterdir()] == ["sm89.onnxruntime.zip"]


@pytest.mark.usefixtures("ada")
def test_changed_engines_are_never_given_to_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "OnnxRuntimeSession", lambda *_: pytest.fail("it was opened"))
    changed = plan(tmp_path)
    path = tmp_path / changed.file
    path.write_bytes(path.read_bytes().replace(b"kernels", b"Kernels"))
    with pytest.raises(IntegrityError, match="not the plan that was built"):
        opening.open_verified(tmp_path / "model.onnx", EngineOptions(), [changed])


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(("changes", "found"), [({"target": "sm90"}, "sm90"), ({"version": "10.9.0"}, "10.9.0")])
def test_engines_of_another_machine_are_refused(tmp_path: Path, changes: dict[str, str], found: str) -> None:
    with pytest.raises(EngineUnavailableError, match=rf"{found}.*\n.*sm89 with TensorRT 10\.13\.3"):
        opening.open_verified(tmp_path / "model.onnx", EngineOptions(), [plan(tmp_path, **changes)])


def built(folder: Path, monkeypatch: pytest.MonkeyPatch, *, compiles: bool) -> Built:
    """An encoder's bundle, with what ONNX Runtime would have compiled written in its place."""
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(folder / "cache"))
    for module in (building, installed):
        monkeypatch.setattr(module, "target", lambda _: "sm89")
        monkeypatch.setattr(module, "library_version", lambda: "10.13.3")

    def described(model: Path, options: EngineOptions, feeds: Any, chosen: Any) -> tuple[Placement, ...]:
        assert {name: array.shape for name, array in feeds.items()} == dict.fromkeys(feeds, (1, 8))
        if compiles:
            (Path(chosen.settings["trt_engine_cache_path"]) / "graph_sm89.engine").write_bytes(b"kernels")
        name = "TensorrtExecutionProvider" if compiles else "CUDAExecutionProvider"
        return (Placement(operator="Graph", provider=name, precision="float16", count=1),)

    monkeypatch.setattr(building, "describe", described)
    (folder / "in").mkdir()
    signature = models.encoder(folder / "in" / "model.onnx")
    shapes = ({"batch": (1, 1, 4), "sequence": (1, 8, 64)}, {"batch": (1, 8, 16), "sequence": (1, 8, 999)})
    options = EngineOptions(plans=PlanOptions(shapes=shapes))
    return engine_module.build(optimized(*signature), folder / "in", folder / "out", options)


def test_a_build_leaves_the_engines_with_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = built(tmp_path, monkeypatch, compiles=True)
    (found,) = made.plans
    assert made.files == ("model.onnx", "plans/sm89.onnxruntime.zip")
    assert (made.engine, found.target, found.version) == ("onnxruntime-tensorrt", "sm89", "10.13.3")
    assert found.shapes[1]["input_ids"] == ((1, 1), (8, 8), (16, models.CONTEXT))  # cut to what the model can take
    assert found.sha256 == hashlib.sha256((tmp_path / "out" / found.file).read_bytes()).hexdigest()
    assert len(found.key) == 64

    monkeypatch.setattr(opening, "target", lambda _: "sm89")
    monkeypatch.setattr(opening, "library_version", lambda: "10.13.3")
    monkeypatch.setattr(opening, "OnnxRuntimeSession", Opened)
    opening.open_verified(tmp_path / "out" / "model.onnx", made.options, made.plans)
    assert Opened.engines == {"graph_sm89.engine": b"kernels"}


def test_a_model_of_which_tensorrt_takes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"takes no part of model\.onnx\n.*Graph with CUDA"):
        built(tmp_path, monkeypatch, compiles=False)
