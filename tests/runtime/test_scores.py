"""Logits to scores, far from 0 too."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import pytest

from compiler.bundle import Files
from compiler.records import Tensor
from compiler.runtime.classification import TASK, Classifier
from compiler.runtime.scores import margins, sigmoid, softmax
from compiler.runtime.text import Text
from tests import models

FAR = np.array([-87.2, -48.3, -25.9, -20, -18, -16, -15, -12, -1, 0, 1, 12, 15, 17, 90], np.float32)


def test_sigmoid_is_that_of_pytorch() -> None:
    import torch

    found = sigmoid(FAR)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.from_numpy(FAR).double().sigmoid().numpy(), rtol=2e-7)
    np.testing.assert_array_equal(sigmoid(np.array([-1e30, -np.inf, np.inf], np.float32)), [0, 0, 1])


def test_margins_are_the_logits_of_the_last_labels_probability() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (20, 4)).astype(np.float32)
    last = softmax(logits.astype(np.float64))[:, -1]
    np.testing.assert_allclose(margins(logits), np.log(last / (1 - last)), rtol=1e-6)
    assert margins(np.array([[0, 900], [0, 901]], np.float32)).tolist() == [900, 901]


class Scripted:
    """A session that gives these logits, whatever it is fed."""

    def __init__(self, logits: Any) -> None:
        self.logits = np.array(logits, np.float32)

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": self.logits[: len(feeds["input_ids"])]}


def classifier(tmp_path: Any, labels: int, **config: Any) -> Classifier:
    models.write_tokenizer(tmp_path)
    inputs = (Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),)
    outputs = (Tensor(name="logits", dtype="float32", shape=("batch", labels)),)
    manifest = msgspec.structs.replace(models.manifest("encoder", inputs, outputs), task=TASK)
    text = Text(Files(tmp_path, manifest, compared=False), manifest)
    text.config = {"pad_token_id": 0} | config
    text.pads = True
    return Classifier(manifest, text)


def ranked(found: list[Any]) -> list[tuple[int, float]]:
    return [(each["index"], each["score"]) for each in found]


def test_rerank_has_the_order_of_the_logits(tmp_path: Any) -> None:
    session = cast(Any, Scripted([[-40.0], [-39.9], [-110.0], [20.0], [20.1], [-109.9], [-40.0]]))
    found = ranked(classifier(tmp_path, 1).rerank(session, "ban", ["del"] * 7))
    assert [index for index, _ in found] == [4, 3, 1, 0, 6, 5, 2]  # equal ones as they came
    assert dict(found)[0] == pytest.approx(1 / (1 + np.exp(40.0)), rel=1e-6)


def test_rerank_by_one_of_several_labels_has_the_order_of_its_probability(tmp_path: Any) -> None:
    session = cast(Any, Scripted([[5.0, 30.0], [0.0, 29.0], [60.0, 31.0]]))
    found = ranked(classifier(tmp_path, 2).rerank(session, "ban", ["del"] * 3))
    assert [index for index, _ in found] == [1, 0, 2]


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none"])
def test_labels_have_the_order_of_the_logits(tmp_path: Any, function: str) -> None:
    made = classifier(tmp_path, 4, problem_type="multi_label_classification")
    session = cast(Any, Scripted([[20.0, 30.0, -120.0, 30.0]]))
    found = cast(Any, made.classify(session, "ban", None, function))
    assert [each["label"] for each in found] == ["LABEL_1", "LABEL_3", "LABEL_0", "LABEL_2"]
    assert isinstance(found[0]["score"], float)
