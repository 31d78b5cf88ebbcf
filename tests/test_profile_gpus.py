"""Profiles for NVIDIA GPUs: their facts, their shapes, what `auto` makes of them, and every mistake in one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler import profile
from compiler.engines.plans.capabilities import CAPABILITIES, capability
from compiler.errors import UsageError
from compiler.records import Gpu, Machine, PlanOptions
from compiler.validation.ready import formats

L4 = Gpu(name="NVIDIA L4", compute_capability="8.9", memory_bytes=24 << 30, driver="13.0")
BARE = """
name = "mine"
description = "a test"
engine = "tensorrt"
[requires]
architecture = "x86_64"
compute_capability = "8.9"
[device]
name = "a GPU"
gpu_names = ["L4"]
compute_capability = "8.9"
memory_gb = 24
bandwidth_gb_s = 300.5
precisions = ["float32", "float16", "int8", "float8"]
source = ["a document"]
[plans]
optimization_level = 2
[encoder]
precision = "float8"
passes = ["fold-constants"]
precisions.float32 = []
precisions.float8 = [{ name = "quantize-static", format = "float8" }]
budget.min_cosine = 0.99
[[encoder.shapes]]
batch = [1, 8, 32]
sequence = [1, 128, 512]
[[encoder.shapes]]
sequence = [1, 32, 32]
[decoder]
precision = "float32"
passes = ["fold-constants"]
precisions.float32 = []
budget.min_top1_agreement = 0.99
[[decoder.shapes]]
batch = [1, 1, 4]
sequence = [1, 16, 64]
past_sequence = [0, 16, 64]
"""


def machine(*gpus: Gpu, architecture: str = "x86_64") -> Machine:
    return Machine(
        cpu="a test",
        architecture=architecture,
        features=("avx2", "fma"),
        physical_cores=1,
        logical_cores=1,
        memory_bytes=1,
        system="test",
        python="3.11",
        gpus=gpus,
    )


def gpu(name: str, capability_: str) -> Gpu:
    return Gpu(name=name, compute_capability=capability_, memory_bytes=1, driver="13.0")


def write(folder: Path, text: str = BARE) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def mistakes(folder: Path, old: str, new: str) -> dict[str, str]:
    assert old in BARE
    found = profile.validate(write(folder, BARE.replace(old, new, 1)))
    return {problem.path: f"{problem.message}; {problem.suggestion}" for problem in found}


@pytest.mark.parametrize("name", [each.name for each in profile.ranked() if each.device])
def test_a_shipped_profile_states_facts_and_keeps_to_them(name: str) -> None:
    loaded = profile.load(name)
    device = loaded.device
    assert loaded.engine == "tensorrt"
    assert device is not None
    assert device.compute_capability == loaded.requires.compute_capability
    able = capability(profile.target_of(device.compute_capability)).formats
    assert {"float32", *able} == set(device.precisions)
    assert any("https://" in source for source in device.source)
    for recipe in (loaded.encoder, loaded.decoder, loaded.encoder_decoder):
        assert recipe is not None
        assert recipe.precision == "float16"
        assert ("bfloat16" in recipe.precisions) == ("bfloat16" in able)
        assert ("float8" in recipe.precisions) == ("float8" in able)
        assert ("int4-weights" in recipe.precisions) == ("int4" in able)
        assert ("float4-weights" in recipe.precisions) == ("float4" in able)
        assert {"float32", "float16", "int8"} <= set(recipe.precisions)
        for precision in recipe.precisions:
            assert formats(recipe, precision) <= able


def test_a_profile_of_a_gpu_loads(tmp_path: Path) -> None:
    assert profile.validate(write(tmp_path)) == []
    loaded = profile.load(write(tmp_path))
    assert loaded.encoder.shapes[0] == {"batch": (1, 8, 32), "sequence": (1, 128, 512)}
    assert loaded.plans == PlanOptions(optimization_level=2)


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("batch = [1, 8, 32]", "bath = [1, 8, 32]", "encoder.shapes[0].bath", 'unknown dim; did you mean "batch"?'),
        ("batch = [1, 8, 32]", "kept = [1, 8, 32]", "encoder.shapes[0].kept", "unknown dim"),
        ("batch = [1, 8, 32]", "batch = [8, 1, 32]", "encoder.shapes[0].batch", "not in ascending order"),
        ("batch = [1, 8, 32]", "batch = [0, 8, 32]", "encoder.shapes[0].batch", "the smallest size is 0"),
        ("batch = [1, 8, 32]", "batch = [1, 32]", "encoder.shapes[0].batch", "length 3"),
        ("batch = [1, 8, 32]", 'batch = [1, 8, "x"]', "encoder.shapes[0].batch", "Expected `int`"),
        ("sequence = [1, 32, 32]", "batch = [1, 1, 1]", "encoder.shapes[1].sequence", "missing dim"),
        ("[requires]", "[requires]\nmin_compute_capability = '8.0'", "requires.min_compute_capability", "already"),
        ('compute_capability = "8.9"\n[', "[", "requires.compute_capability", "missing key"),
        ('compute_capability = "8.9"\n[', 'compute_capability = "8.8"\n[', "requires.compute_capability", '"8.9"?'),
        ('compute_capability = "8.9"\n[', 'compute_capability = "sm89"\n[', "requires.compute_capability", "matching"),
        ('compute_capability = "8.9"\nm', 'compute_capability = "9.0"\nm', "device.compute_capability", "says 8.9"),
        ('"float8"]', '"float9"]', "device.precisions[3]", 'did you mean "float8"?'),
        ('"float8"]', '"float4"]', "device.precisions[3]", "float4 needs sm100 or later"),
        (', "float8"]', "]", "encoder.precisions.float8[0]", "a GPU has no float8; float8 needs sm89 or later"),
        ("memory_gb = 24", "memory_gb = 0", "device.memory_gb", "> 0"),
        ('source = ["a document"]', "", "device.source", "missing key"),
        ("[plans]", '[plans]\ntargets = ["sm88"]', "plans.targets[0]", 'unknown target "sm88"; did you mean "sm8'),
        ("[plans]", '[plans]\ntargets = ["sm80"]', "encoder.precisions.float8[0]", "sm80 (A100, A30) has no float8"),
        ("[plans]", "[plans]\nshapes = []", "plans.shapes", "[[encoder.shapes]]"),
        ("[plans]", '[plans]\nhardware_compatible = "ampere"', "plans.hardware_compatible", '"ampere-plus"?'),
        ("optimization_level = 2", "optimization_level = 6", "plans.optimization_level", "<= 5"),
        ('engine = "tensorrt"', 'engine = "onnxruntime-cpu"', "plans", "this engine builds no plans"),
        ('engine = "tensorrt"', 'engine = "onnxruntime-cpu"', "encoder.shapes", "this engine takes no shapes"),
        (
            'engine = "tensorrt"',
            'engine = "onnxruntime-cpu"',
            "decoder.shapes",
            "only onnxruntime-tensorrt and tensorrt do",
        ),
        ('engine = "tensorrt"', 'engine = "tensorrtt"', "engine", 'did you mean "tensorrt"?'),
    ],
)
def test_each_mistake_names_its_place(tmp_path: Path, old: str, new: str, path: str, message: str) -> None:
    found = mistakes(tmp_path, old, new)
    assert path in found
    assert message in found[path]


def test_shapes_are_needed_where_plans_are_built(tmp_path: Path) -> None:
    text = BARE.partition("[[decoder.shapes]]")[0]
    (problem,) = profile.validate(write(tmp_path, text))
    assert problem.path == "decoder.shapes"
    assert "[[decoder.shapes]], sequence = [1, 128, 512]" in problem.suggestion


def test_an_engine_that_builds_for_the_gpu_at_hand_takes_shapes_and_no_targets(tmp_path: Path) -> None:
    text = BARE.replace('engine = "tensorrt"', 'engine = "onnxruntime-tensorrt"')
    loaded = profile.load(write(tmp_path, text))
    options = profile.engine_options(loaded, "encoder")
    assert options.plans == PlanOptions(optimization_level=2, shapes=loaded.encoder.shapes)
    with pytest.raises(UsageError, match="takes no targets"):
        profile.engine_options(loaded, "encoder", targets=["sm89"])
    (problem,) = profile.validate(write(tmp_path, text.replace("[plans]", '[plans]\ntargets = ["sm89"]')))
    assert problem.path == "plans.targets"
    assert "builds for the GPU that is present" in problem.message


def test_several_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = BARE.replace("[1, 8, 32]", "[0, 9, 8]").replace('"float8"]', '"float4"]').replace("[1, 16, 64]", "16")
    found = {problem.path for problem in profile.validate(write(tmp_path, text))}
    assert found == {
        "encoder.shapes[0].batch",
        "device.precisions[3]",
        "encoder.precisions.float8[0]",
        "decoder.shapes[0].sequence",
    }


def test_the_schema_has_targets_and_formats() -> None:
    definitions = profile.schema()["$defs"]
    assert definitions["PlanOptions"]["properties"]["targets"]["items"]["enum"] == list(CAPABILITIES)
    assert "shapes" not in definitions["PlanOptions"]["properties"]
    assert "float8" in str(definitions["Device"]["properties"]["precisions"])


@pytest.mark.parametrize(
    ("gpus", "architecture", "lacks"),
    [
        ((L4,), "x86_64", ()),
        ((gpu("NVIDIA T4", "7.5"), L4), "x86_64", ()),
        ((), "x86_64", ("an NVIDIA GPU of compute capability 8.9",)),
        ((gpu("NVIDIA T4", "7.5"),), "x86_64", ("an NVIDIA GPU of compute capability 8.9, not 7.5",)),
        ((L4,), "aarch64", ("x86_64",)),
    ],
)
def test_what_a_machine_lacks_of_a_gpu(gpus: tuple[Gpu, ...], architecture: str, lacks: tuple[str, ...]) -> None:
    assert profile.missing(profile.load("nvidia-l4"), machine(*gpus, architecture=architecture)) == lacks


def test_a_least_compute_capability(tmp_path: Path) -> None:
    text = BARE.replace('engine = "tensorrt"', 'engine = "onnxruntime-cpu"')
    text = text.replace('compute_capability = "8.9"\n[', 'min_compute_capability = "8.0"\n[', 1)
    text = text.replace("[plans]\noptimization_level = 2\n", "")
    text = re.sub(r"\[\[(encoder|decoder).shapes\]\]\n(\w+ = \[.*\]\n)+", "", text)
    loaded = profile.load(write(tmp_path, text))
    assert profile.missing(loaded, machine(gpu("NVIDIA B200", "10.0"))) == ()
    assert profile.missing(loaded, machine(gpu("NVIDIA T4", "7.5"))) == (
        "an NVIDIA GPU of compute capability 8.0 or later, not 7.5",
    )


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every engine can be used."""
    monkeypatch.setattr("compiler.profile.choosing.usable", lambda profile: True)


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize(
    ("name", "capability_", "chosen"),
    [
        ("Tesla T4", "7.5", "nvidia-t4"),
        ("NVIDIA A10G", "8.6", "nvidia-a10"),
        ("NVIDIA L4", "8.9", "nvidia-l4"),
        ("NVIDIA L40S", "8.9", "nvidia-rtx-4090"),  # of its capability, though not of its name
        ("NVIDIA GeForce RTX 4090", "8.9", "nvidia-rtx-4090"),
        ("NVIDIA A100-SXM4-80GB", "8.0", "nvidia-a100"),
        ("NVIDIA H100 80GB HBM3", "9.0", "nvidia-h100"),
        ("NVIDIA H200", "9.0", "nvidia-h200"),
        ("NVIDIA B200", "10.0", "nvidia-b200"),
        ("NVIDIA GeForce RTX 5090", "12.0", "nvidia-rtx-5090"),
    ],
)
def test_auto_takes_the_profile_of_the_gpu(name: str, capability_: str, chosen: str) -> None:
    assert profile.auto(machine(gpu(name, capability_))).name == chosen


@pytest.mark.usefixtures("usable")
def test_auto_on_a_jetson() -> None:
    assert profile.auto(machine(gpu("Orin", "8.7"), architecture="aarch64")).name == "jetson-orin"


def test_auto_takes_the_cpu_where_the_engine_of_the_gpu_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.profile.choosing.usable", lambda profile: False)
    assert profile.auto(machine(L4)).name == "cpu-x86-avx2"
    assert profile.auto(machine(gpu("an older GPU", "6.1"))).name == "cpu-x86-avx2"


def test_auto_without_a_gpu_never_asks_for_one() -> None:
    assert profile.auto(machine()).name == "cpu-x86-avx2"
