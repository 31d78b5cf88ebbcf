"""ConvBERT, whose convolutions read padding: a text's answer is the one it has alone, whatever stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from compiler import load, pipeline, records
from compiler.bundle import CERTIFICATE, read
from compiler.cli import inspect
from compiler.records import Certificate
from tests.families import TEXT, Family, checkpoint, family
from tests.understanding import assert_same, torch_pipeline

CONFIG: dict[str, Any] = {
    **family("electra", "feature-extraction").config,
    "conv_kernel_size": 3,
    "head_ratio": 2,
    "num_labels": 3,
}
TEXTS = ["the cat", TEXT, "a", "the mat sat", "", "an old sailor told", "the dog", "rain and wind in the harbour"]

Built = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Built:
    """A task's checkpoint and its bundle in float32."""

    def build(task: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("convbert")
        model = checkpoint(Family("convbert", "convbert", task, CONFIG), folder / "model")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))
            out = pipeline.build(
                str(model), task=task, profile="cpu-x86-avx2", precision="float32", out=folder / "out", bench=False
            )
        return model, out

    return build


def cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    found: np.ndarray = (some * others).sum(axis=1) / np.linalg.norm(some, axis=1) / np.linalg.norm(others, axis=1)
    return found


def test_vectors_are_those_of_the_texts_alone(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    folder, bundle = built("feature-extraction")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS]
        padded = model(**tokenizer(TEXTS, return_tensors="pt", padding=True)).last_hidden_state
    expected = np.stack([each.mean(dim=0).numpy() for each in states])
    together = np.stack([row[: len(each)].mean(dim=0).numpy() for row, each in zip(padded, states, strict=True)])
    assert cosines(together, expected).min() < 0.9995, "padding changes what PyTorch says"
    with load(bundle) as opened:
        mixed = opened.embed(TEXTS)
        reversed_ = opened.embed(TEXTS[::-1])[::-1]
        alone = np.stack([opened.embed(text) for text in TEXTS])
    for each in (mixed, reversed_, alone):
        assert cosines(each, expected).min() > 0.99999
        np.testing.assert_allclose(each, expected, atol=1e-4)
    certificate = records.load(bundle / CERTIFICATE, Certificate)
    assert (read(bundle).padding, certificate.padding, certificate.verdict) == ("changes answers",) * 2 + ("pass",)
    findings = {finding.name: finding.value for finding in certificate.checked.findings}
    assert findings["padding.cosine.min"] > 0.99999
    inspect.inspect.main([str(bundle)], standalone_mode=False)
    assert "padding changes answers: only texts of equal length are read together" in capsys.readouterr().out


def test_labels_are_those_of_the_texts_alone(built: Built) -> None:
    folder, bundle = built("text-classification")
    asked = torch_pipeline("text-classification", folder)
    with load(bundle) as opened:
        found = opened.classify(TEXTS, top_k=None)
    assert_same(found, [asked([text], top_k=None)[0] for text in TEXTS])
