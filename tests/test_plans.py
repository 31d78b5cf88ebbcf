"""Plans for GPUs that this machine does not have, from checkpoint to bundle, with the real TensorRT for RTX."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler import bundle as bundles
from compiler import pipeline, profile, records
from compiler.bundle import CERTIFICATE
from compiler.engines import engine
from compiler.engines.tensorrt.builder import sources
from compiler.errors import EngineUnavailableError, IntegrityError
from compiler.progress import Event
from compiler.records import Certificate, Manifest, Optimized
from compiler.storage import digest
from tests.conftest import Compile
from tests.test_end_to_end import ENCODER

PROFILE = "nvidia-l4"
TARGETS = ("sm89", "sm120")
PRECISIONS = ("float32", "float16", "bfloat16", "int8", "float8", "int4-weights")
WIDE = {  # for random weights in few bits
    "encoder": {"min_cosine": 0.8},
    "decoder": {"max_perplexity_ratio": 2.0, "min_top1_agreement": 0.5, "max_kl_divergence": 1.0},
}


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))


def named(precision: str) -> str:
    """The format that layers of a plan of this precision are in."""
    return precision.removesuffix("-weights")


def build(model: Path, out: Path, precision: str, **options: Any) -> tuple[Manifest, Certificate]:
    options = {"targets": TARGETS, **options}
    folder = pipeline.build(str(model), profile=PROFILE, precision=precision, out=out, **options)
    return bundles.verify(folder), records.load(folder / CERTIFICATE, Certificate)


def holds(out: Path, manifest: Manifest, certificate: Certificate, precision: str) -> None:
    """What has to be true of any bundle with plans for both targets."""
    assert [plan.target for plan in manifest.plans] == list(TARGETS)
    for plan in manifest.plans:
        assert (plan.flavor, plan.shapes[0].keys()) == ("tensorrt-rtx", {tensor.name for tensor in plan.inputs})
        assert plan.sha256 == digest(out / plan.file) == manifest.files[plan.file].sha256
        assert plan.size == (out / plan.file).stat().st_size
        assert [tensor.name for tensor in plan.inputs] == [tensor.name for tensor in manifest.inputs]
        assert named(precision) in {layer.precision for layer in plan.layers}
    assert certificate.plans == manifest.plans
    assert certificate.checked.serving is not None
    assert certificate.checked.serving.engine == "onnxruntime-cpu"
    assert "driver" in certificate.checked.serving.reason
    assert certificate.measured is None


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_tiny_models_build_for_both_targets_twice_with_equal_digests(
    kind: str, precision: str, request: pytest.FixtureRequest, cache: Path, tmp_path: Path
) -> None:
    """Where two differ a third decides: on a busy machine one of some 60 builds ordered its outputs otherwise."""
    checkpoint = request.getfixturevalue(f"tiny_{kind}")
    plans: list[list[tuple[str, str, str]]] = []
    for number in range(3):
        shutil.rmtree(cache / "build", ignore_errors=True)
        out = tmp_path / f"bundle-{number}"
        manifest, certificate = build(checkpoint, out, precision, budget=WIDE[kind])
        holds(out, manifest, certificate, precision)
        plans.append([(plan.target, plan.sha256, plan.key) for plan in manifest.plans])
        if plans[-1] in plans[:-1]:
            break
    assert plans[-1] in plans[:-1]
    assert len({each[1] for each in plans[0]}) == len(TARGETS)


def test_minilm_builds_and_its_graph_keeps_the_answers(tmp_path: Path) -> None:
    manifest, certificate = build(ENCODER, tmp_path / "bundle", "float16")
    holds(tmp_path / "bundle", manifest, certificate, "float16")
    assert certificate.verdict == "pass"


@pytest.mark.parametrize("precision", [each for each in PRECISIONS if each != "float16"])
def test_minilm_builds_in_every_precision(precision: str, tmp_path: Path) -> None:
    exported = pipeline.export(str(ENCODER), out=tmp_path / "exported")
    folder = pipeline.optimize(exported, profile=PROFILE, precision=precision, out=tmp_path / "lowered")
    target = profile.load(PROFILE)
    options = profile.engine_options(target, "encoder", targets=TARGETS, shapes=target.encoder.shapes)
    optimized = records.load(folder / "optimized.json", Optimized)
    built = engine("tensorrt").build(optimized, folder, tmp_path / "built", options)
    assert [plan.target for plan in built.plans] == list(TARGETS)
    for plan in built.plans:
        assert plan.sha256 == digest(tmp_path / "built" / plan.file)
        assert named(precision) in {layer.precision for layer in plan.layers}


def test_a_decoder_with_a_static_cache_generates_what_pytorch_does(tiny_decoder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    manifest, _ = build(tiny_decoder, tmp_path / "bundle", "float32")
    assert manifest.cache is not None
    assert (manifest.cache.layout, manifest.cache.capacity) == ("shared", manifest.context_length)
    layers = {layer.operator: layer.count for layer in manifest.plans[0].layers}
    assert layers["KV_CACHE_UPDATE"] == 2 * manifest.cache.layers
    assert layers["ATTENTION_INPUT"] == manifest.cache.layers
    ids = np.array([[5, 6, 7, 8]])
    reference = AutoModelForCausalLM.from_pretrained(tiny_decoder)
    import torch

    with compiler.load(tmp_path / "bundle") as model:
        found = model.generate(input_ids=torch.tensor(ids), max_new_tokens=12, do_sample=False)
    expected = reference.generate(torch.tensor(ids), max_new_tokens=12, do_sample=False)
    assert found.tolist() == expected.tolist()


def test_float4_is_in_the_plans_graph_and_widened_for_onnx_runtime(tiny_decoder: Path, tmp_path: Path) -> None:
    out = pipeline.build(
        str(tiny_decoder),
        profile="nvidia-rtx-5090",
        precision="float4-weights",
        out=tmp_path / "bundle",
        budget=WIDE["decoder"],
    )
    manifest = bundles.verify(out)
    assert [plan.target for plan in manifest.plans] == ["sm120"]
    assert "float4" in sources.read(out / "plans" / manifest.model).formats
    assert "float4" not in sources.read(out / manifest.model).formats
    with compiler.load(out) as model:
        assert model.serving is not None
        assert (model.serving.engine, "driver" in model.serving.reason) == ("onnxruntime-cpu", True)
        assert model.generate("the cat", max_new_tokens=3)


def test_recorded_traffic_makes_the_shapes(tiny_encoder: Path, tmp_path: Path) -> None:
    lengths = tmp_path / "lengths.jsonl"
    lengths.write_text("7\n" * 50 + '{"tokens": 40, "batch": 4}\n' * 50, encoding="utf-8")
    manifest, _ = build(tiny_encoder, tmp_path / "bundle", "float16", targets=("sm89",), traffic=lengths)
    largest = [shapes["input_ids"][2] for shapes in manifest.plans[0].shapes]
    assert sorted(length for _, length in largest) == [16, 48]
    assert max(batch for batch, _ in largest) >= 4


def test_a_precision_that_a_target_lacks_is_refused_before_anything_is_exported(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    with pytest.raises(EngineUnavailableError, match=r"(?s)sm86.*float8 needs sm89"):
        build(tiny_encoder, tmp_path / "bundle", "float8", targets=("sm86",), progress=seen.append)
    assert "export" not in {event.stage for event in seen}
    assert not (tmp_path / "bundle").exists()


def test_a_gpu_that_rtx_does_not_serve_is_exit_10_with_the_flavor_that_does(
    compile_: Compile, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = compile_("build", tiny_encoder, "--profile", "nvidia-h100", "--out", tmp_path / "bundle", "--json")
    assert result.returncode == 10
    error = json.loads(result.stdout)["error"] if result.stdout.startswith("{") else {"text": result.stderr}
    assert "sm90" in json.dumps(error)
    assert "tensorrt" in json.dumps(error)


def test_a_changed_plan_is_never_opened(tiny_encoder: Path, tmp_path: Path) -> None:
    manifest, _ = build(tiny_encoder, tmp_path / "bundle", "float16")
    file = tmp_path / "bundle" / manifest.plans[0].file
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match=manifest.plans[0].file):
        compiler.load(tmp_path / "bundle")
