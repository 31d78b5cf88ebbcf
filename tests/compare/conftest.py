"""A tiny classifier's bundle, the bundle of a copy in which one word means something else, and one in int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compiler import pipeline
from tests.cli.conftest import invoke
from tests.understanding import VOCABULARY, Case, built

__all__ = ["invoke"]  # a fixture

WORD = "storm"


@pytest.fixture(scope="session")
def classifier(case: Callable[[str], Case]) -> Path:
    return case("text-classification").bundle


@pytest.fixture(scope="session")
def changed(case: Callable[[str], Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classifier, with another embedding of WORD."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("changed")
    original = case("text-classification").checkpoint
    model = transformers.AutoModelForSequenceClassification.from_pretrained(original)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        row = model.bert.embeddings.word_embeddings.weight[VOCABULARY[WORD]]
        row.copy_(torch.randn(row.shape, generator=generator) * 2)
    model.save_pretrained(folder / "checkpoint")
    transformers.AutoTokenizer.from_pretrained(original).save_pretrained(folder / "checkpoint")
    return built(folder / "checkpoint", "text-classification", folder / "bundle")


@pytest.fixture(scope="session")
def int8(case: Callable[[str], Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classifier in int8."""
    out = tmp_path_factory.mktemp("int8") / "bundle"
    return pipeline.build(
        str(case("text-classification").checkpoint),
        task="text-classification",
        out=out,
        profile="cpu-x86-avx2",
        precision="int8-dynamic",
        budget={"max_kl_divergence": 9.0, "min_top1_agreement": 0.0},
        bench=False,
    )
