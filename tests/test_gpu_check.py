"""`scripts/gpu_check` on a machine without a GPU: what it says there, and its pieces on the CPU with tiny models."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from compiler import bundle
from compiler.machine import detect
from compiler.measure.protocol import Spec
from compiler.records import Gpu, Serving
from tests import models
from tests.conftest import ROOT

SCRIPTS = ROOT / "scripts"
QUICK = ("engine", "PyTorch eager")


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package of the script."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import gpu_trials.document
    import gpu_trials.plans
    import gpu_trials.runners
    import gpu_trials.timing

    return gpu_trials


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is an NVIDIA GPU here: it would be measured")
def test_without_a_gpu_it_ends_with_10_and_says_what_is_missing(tmp_path: Path) -> None:
    result = subprocess.run([SCRIPTS / "gpu_check"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 10
    assert "libcuda.so.1" in result.stderr
    assert not (ROOT / ".venv-gpu").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on the CPU with a tiny decoder: the script's own entry point, its workers and all."""
    out = tmp_path_factory.mktemp("run")
    words = ["gpu_check", "--device", "cpu", "--tiny", "--model", "SmolLM2", "--json", "--out", str(out)]
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        patch.setenv("PYTHONPATH", str(SCRIPTS))
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(out / "cache"))
        patch.setattr(sys, "argv", words)
        import gpu_trials.__main__ as script

        patch.setattr(script, "measure", functools.partial(script.measure, runners=QUICK))
        with contextlib.redirect_stdout(told), pytest.raises(SystemExit) as ended:
            script.main()
    assert ended.value.code in (0, False)
    (out / "told.json").write_text(told.getvalue())
    return out


def test_a_run_keeps_every_sample_and_writes_no_document(run: Path) -> None:
    told = json.loads((run / "told.json").read_text())
    model = told["models"]["SmolLM2"]
    assert model["verdict"] == "pass"
    assert [each["runner"] for each in model["timed"]] == list(QUICK)
    for each in model["timed"]:
        assert each["failure"] == ""
        assert {name: len(samples) for name, samples in each["samples"].items()} == {
            "decode at batch 1": 2 * 3,
            "decode at batch 2": 2 * 3,
        }
        assert all(sample > 0 for samples in each["samples"].values() for sample in samples)
    assert model["timed"][0]["version"].startswith("onnxruntime-cpu ")
    cache = bundle.read(run / "cpu-tiny" / "smollm2").cache
    assert cache is not None
    assert (cache.layout, cache.dtype) == ("shared", "float16")
    raw = list((run / "cpu-tiny").glob("*.json"))
    assert [json.loads(path.read_text()) for path in raw] == [told]
    assert not list((ROOT / "docs").glob("measured/gpu-*cpu*"))


def test_all_runners_generate_the_same_tokens(pieces: ModuleType, run: Path) -> None:
    folder, checkpoint = run / "cpu-tiny" / "smollm2", run / "cpu-tiny" / "checkpoints" / "smollm2"
    manifest = bundle.read(folder)
    ids = pieces.workloads.tokens(manifest, (2, 8))
    answers = [opened(pieces, name, folder, checkpoint).generate(ids, 4) for name in pieces.timing.RUNNERS]
    assert all(len(samples) == 4 for _, samples in answers)
    for tokens, _ in answers[1:]:
        np.testing.assert_array_equal(tokens, answers[0][0])


def test_an_encoders_runners_give_vectors_of_float32(pieces: ModuleType, tiny_encoder: Path, tmp_path: Path) -> None:
    folder = models.encoder_bundle(tmp_path / "bundle")
    ids = pieces.workloads.tokens(bundle.read(folder), (2, 8))
    vectors = [opened(pieces, name, folder, tiny_encoder).encode(ids) for name in pieces.timing.RUNNERS]
    assert {each.shape[:2] for each in vectors} == {(2, 8)}
    assert {each.dtype for each in vectors} == {np.dtype(np.float32)}
    np.testing.assert_allclose(vectors[3], vectors[2], atol=1e-4)


def opened(pieces: ModuleType, name: str, folder: Path, checkpoint: Path) -> Any:
    own = name in (pieces.runners.ENGINE, pieces.runners.GRAPHS)
    spec = Spec(
        runner="engine" if own else "pytorch",
        folder=str(folder if own else checkpoint),
        manifest=bundle.read(folder),
        threads=1,
    )
    return pieces.runners.open_runner(spec, pieces.asked.Asked(device="cpu", tiny=True), name)


def test_a_runner_that_fails_leaves_the_others(
    pieces: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS))
    folder = models.decoder_bundle(tmp_path / "bundle")
    asked = pieces.asked.Asked(device="cpu", tiny=True)
    found = pieces.timing.measure(folder, tmp_path, asked, runners=("engine", "PyTorch eager"))
    assert found[0].failure == ""
    assert len(found[0].samples) == 2
    assert "died" in found[1].failure
    assert "- PyTorch eager:" in pieces.document.table(found)


def test_the_table_holds_medians_quartiles_and_how_sure_a_ratio_is(pieces: ModuleType) -> None:
    random = np.random.default_rng(0)
    timed = pieces.timing.Timed
    found = [
        timed("engine", "onnxruntime-cuda 1", {"encode 1x128": list(random.normal(2, 0.01, 50))}),
        timed("torch.compile", "torch 1", {"encode 1x128": list(random.normal(3, 0.01, 50))}),
        timed("PyTorch eager", failure="out of\n  memory"),
    ]
    text = pieces.document.table(found)
    row = next(line for line in text.splitlines() if "| engine |" in line)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:2] == ["encode 1x128", "engine"]
    assert float(cells[2]) == pytest.approx(2, abs=0.01)
    assert cells[4] == "50"
    assert cells[5].startswith("1.50 (1.")
    assert cells[5].endswith("goal 1.2")
    assert "- PyTorch eager: out of memory" in text


def test_the_document_names_device_driver_and_versions(pieces: ModuleType) -> None:
    gpu = Gpu(name="NVIDIA H100 80GB", compute_capability="9.0", memory_bytes=80 << 30, driver="13.2")
    machine = msgspec.structs.replace(detect(), gpus=(gpu,))
    text = pieces.document.document(
        machine=machine,
        versions={"torch": "2.13.0"},
        verdicts={"BERT": "pass"},
        tables={"BERT": "| a table |"},
        asked=pieces.asked.Asked(),
        date="2026-11-24",
        raw="artifacts/x.json",
    )
    for wanted in (
        "# NVIDIA H100 80GB",
        "compute capability 9.0, 80 GiB",
        "CUDA 13.2",
        "- torch: 2.13.0",
        "| a table |",
    ):
        assert wanted in text
    assert pieces.document.file_name(gpu.name) == "gpu-nvidia-h100-80gb.md"


def test_what_answers_is_told_with_its_reason(pieces: ModuleType) -> None:
    manifest = models.manifest("decoder", *models.decoder_signature(True), layout="shared")
    serves = Serving(engine="onnxruntime-cpu", version="1.32.0", reason="no driver")
    said = pieces.plans.outcome(serves, manifest)
    assert said == "no plans, digests equal; onnxruntime-cpu 1.32.0 answers (no driver)"


def test_tokens_are_counted_up_to_the_first_that_differs(pieces: ModuleType, tmp_path: Path) -> None:
    folder = models.decoder_bundle(tmp_path / "bundle")
    assert pieces.plans.agreement(folder, bundle.read(folder)) == (pieces.plans.NEW, pieces.plans.NEW)
