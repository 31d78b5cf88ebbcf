"""Rankers as sentence-transformers saves them, beside what the library itself answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

import compiler
from compiler import pipeline
from tests.sentence import QUERY, TEXTS, bert


@pytest.mark.parametrize("activation", [None, "Identity"])
def test_a_ranker_gives_the_librarys_scores(activation: str | None, tmp_path: Path) -> None:
    base = bert(tmp_path / "base", "BertForSequenceClassification", num_labels=1)
    function = getattr(torch.nn, activation)() if activation else None
    theirs = CrossEncoder(str(base), activation_fn=function, max_length=40, device="cpu")
    theirs.save_pretrained(str(tmp_path / "model"))
    expected = theirs.predict([(QUERY, text) for text in TEXTS])
    pipeline.build(str(tmp_path / "model"), out=tmp_path / "out", precision="float32", bench=False)
    with compiler.load(tmp_path / "out") as model:
        assert model.manifest.task == "text-classification"
        ranked = {each["index"]: each["score"] for each in model.rerank(QUERY, TEXTS)}
        labelled = [model.classify((QUERY, text))[0]["score"] for text in TEXTS]
    np.testing.assert_allclose([ranked[index] for index in range(len(TEXTS))], expected, rtol=1e-4)
    np.testing.assert_allclose(labelled, expected, rtol=1e-4)
