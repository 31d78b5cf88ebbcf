"""A CrossEncoder in the files of all versions: its activation, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint import sentence
from compiler.errors import CheckpointError
from tests.checkpoint.modules import put

Config = dict[str, Any]
IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"


def ranker(folder: Path, **about: Any) -> None:
    put(folder / "modules.json", [{"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}])
    text = {"text": {"method": "forward", "method_output_name": "logits"}}
    task = {"transformer_task": "sequence-classification", "module_output_name": "scores"}
    put(folder / "sentence_bert_config.json", {**task, "modality_config": text})
    put(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder", **about})


@pytest.mark.parametrize(
    ("labels", "declared", "config", "expected"),
    [
        (1, SIGMOID, {}, "sigmoid"),
        (1, IDENTITY, {}, "none"),
        (1, None, {}, "sigmoid"),
        (1, None, {"sbert_ce_default_activation_function": IDENTITY}, "none"),
        (1, SIGMOID, {"sentence_transformers": {"activation_fn": IDENTITY}}, "sigmoid"),
        (3, IDENTITY, {}, None),
        (3, None, {}, None),
        (3, SIGMOID, {}, "sigmoid"),
    ],
)
def test_a_rankers_activation(
    tmp_path: Path, labels: int, declared: str | None, config: Config, expected: str | None
) -> None:
    ranker(tmp_path, activation_fn=declared)
    names = {str(index): f"LABEL_{index}" for index in range(labels)}
    assert sentence.task_of(tmp_path) == "text-classification"
    assert sentence.activation(tmp_path, {**config, "id2label": names}) == expected


def test_a_number_of_labels_comes_before_their_names(tmp_path: Path) -> None:
    ranker(tmp_path, activation_fn=None)
    names = {"0": "no", "1": "yes"}
    assert sentence.activation(tmp_path, {"id2label": names, "num_labels": 1}) == "sigmoid"
    assert sentence.activation(tmp_path, {"id2label": names, "num_labels": 2}) is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.0.1"}}, "none"),
        ({"sbert_ce_default_activation_function": SIGMOID}, "sigmoid"),
    ],
)
def test_an_activation_before_modules(tmp_path: Path, config: Config, expected: str | None) -> None:
    assert sentence.activation(tmp_path, {**config, "id2label": {"0": "LABEL_0"}}) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"activation_fn": "torch.nn.modules.activation.Tanh"}, "Tanh"),
        ({"activation_fn": "somewhere.Sigmoid"}, "somewhere"),
        ({"prompts": {"query": "q: "}, "default_prompt_name": "query"}, "q: "),
    ],
)
def test_a_ranker_that_does_more_is_refused(tmp_path: Path, change: Config, named: str) -> None:
    ranker(tmp_path, **change)
    with pytest.raises(CheckpointError) as caught:
        sentence.activation(tmp_path, {"id2label": {"0": "LABEL_0"}})
    assert named in str(caught.value)


def test_a_ranker_of_several_modules_is_refused(tmp_path: Path) -> None:
    ranker(tmp_path)
    listed = json.loads((tmp_path / "modules.json").read_text())
    put(tmp_path / "modules.json", [*listed, {"path": "1_L", "type": "sentence_transformers.x.LogitScore"}])
    with pytest.raises(CheckpointError, match="these modules"):
        sentence.activation(tmp_path, {})
