"""Which tasks a model has, which one a checkpoint was trained for, and whether its head fits its labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from compiler.checkpoint import load_model, resolve
from compiler.checkpoint.heads import task_of, tasks_of
from compiler.errors import CheckpointError, UsageError
from tests import understanding

SMALL: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
BERT = {**SMALL, "vocab_size": 16}


@pytest.mark.parametrize(
    ("config", "architecture", "task"),
    [
        (transformers.BertConfig(**BERT), "BertForQuestionAnswering", "question-answering"),
        (transformers.BertConfig(**BERT), "BertForMultipleChoice", "multiple-choice"),
        (transformers.BertConfig(**BERT), "BertForNextSentencePrediction", "next-sentence-prediction"),
        (transformers.BertConfig(**BERT), "BertForPreTraining", "fill-mask"),
        (transformers.BertConfig(**BERT), "BertModel", "feature-extraction"),
        (transformers.ElectraConfig(**BERT), "ElectraForPreTraining", "replaced-token-detection"),
        (transformers.ElectraConfig(**BERT), "ElectraForMaskedLM", "fill-mask"),
        (transformers.AlbertConfig(**BERT, embedding_size=8), "AlbertForPreTraining", "fill-mask"),
        (
            transformers.FunnelConfig(
                d_model=8, block_sizes=[1, 1], n_head=2, d_head=4, d_inner=8, vocab_size=16, num_decoder_layers=1
            ),
            "FunnelForPreTraining",
            "replaced-token-detection",
        ),
        (transformers.RobertaConfig(**BERT), "RobertaForMaskedLM", "fill-mask"),
        (transformers.XLNetConfig(), "XLNetLMHeadModel", "text-generation"),
        (transformers.XLNetConfig(), "XLNetForQuestionAnsweringSimple", "question-answering"),
        (transformers.GPT2Config(), "GPT2LMHeadModel", "text-generation"),
        (transformers.GPT2Config(), "GPT2ForSequenceClassification", "text-classification"),
        (transformers.T5Config(), "T5ForConditionalGeneration", "text2text-generation"),
        (transformers.BartConfig(), "BartForConditionalGeneration", "text2text-generation"),
        (transformers.MarianConfig(), "MarianMTModel", "text2text-generation"),
        (transformers.ViTConfig(), "ViTForImageClassification", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_class_tells_the_task(config: Any, architecture: str, task: str | None, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    assert task_of(tmp_path, architecture) == task


UNTOLD: dict[str, Any] = {
    "dunder": ["__init__"],
    "function": ["pipeline"],
    "module": ["models"],
    "configuration": ["BertConfig"],
    "empty": [""],
    "none": [],
    "null": None,
    "unknown": ["BertForSentiment"],
    "of another type": ["GPT2LMHeadModel"],
    "of a relative": ["RobertaForMaskedLM"],
    "two tasks": ["BertForMaskedLM", "BertForSequenceClassification"],
}


@pytest.mark.parametrize("names", UNTOLD.values(), ids=UNTOLD)
def test_a_class_that_tells_no_task_is_refused_unless_the_task_is_given(names: Any, tmp_path: Path) -> None:
    folder = understanding.checkpoint(tmp_path / "model", "BertForMaskedLM")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": names}))
    with pytest.raises(CheckpointError, match="what the model was trained for") as caught:
        resolve(str(folder), cache=tmp_path / "cache")
    assert caught.value.found == f'"architectures": {names or []}'
    assert "fill-mask" in caught.value.action
    found = resolve(str(folder), task="fill-mask", cache=tmp_path / "cache")
    assert found.task == "fill-mask"
    load_model(found.folder, found.task)
    with pytest.raises(UsageError, match="no head"):
        load_model(found.folder, "text2text-generation")


def test_the_head_of_a_setfit_classifier_is_not_dropped_unseen(tmp_path: Path) -> None:
    folder = understanding.checkpoint(tmp_path / "model", "BertModel")
    (folder / "model_head.pkl").write_bytes(b"a pickle of scikit-learn")
    with pytest.raises(CheckpointError, match="SetFit") as caught:
        resolve(str(folder), cache=tmp_path / "cache")
    assert "model_head.pkl" in caught.value.found
    assert resolve(str(folder), task="feature-extraction", cache=tmp_path / "cache").task == "feature-extraction"


def test_a_class_that_is_named_twice_tells_its_task(tmp_path: Path) -> None:
    folder = understanding.checkpoint(tmp_path / "model", "BertForMaskedLM")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["BertForMaskedLM"] * 2}))
    assert resolve(str(folder), cache=tmp_path / "cache").task == "fill-mask"


def test_the_number_of_labels_comes_before_their_names(tmp_path: Path) -> None:
    """As in transformers, which then numbers the labels, and never looks at `label2id`."""
    folder = understanding.checkpoint(tmp_path / "model", "BertForSequenceClassification")
    path = folder / "config.json"
    stated = json.loads(path.read_text())
    names = {"0": "no", "1": "yes"}

    def labels(**changes: Any) -> dict[int, str]:
        path.write_text(json.dumps({**stated, **changes}))
        found = resolve(str(folder), cache=tmp_path / "cache")
        return dict(load_model(found.folder, found.task).config.id2label)

    assert labels(id2label=names, label2id={"yes": 0, "no": 1}) == {0: "no", 1: "yes"}
    assert labels(id2label=names, num_labels=2) == {0: "no", 1: "yes"}
    assert labels(id2label={**names, "2": "maybe"}, num_labels=2) == {0: "LABEL_0", 1: "LABEL_1"}
    with pytest.raises(CheckpointError, match="labels and head do not belong together"):
        labels(id2label=names, num_labels=3)


def test_replaced_tokens_are_told_by_discriminators_only(tmp_path: Path) -> None:
    for name, config in (("electra", transformers.ElectraConfig(**BERT)), ("bert", transformers.BertConfig(**BERT))):
        config.save_pretrained(tmp_path / name)
    electra, bert = tasks_of(tmp_path / "electra"), tasks_of(tmp_path / "bert")
    assert set(electra) - set(bert) == {"replaced-token-detection"}
    assert set(bert) - set(electra) == {"next-sentence-prediction"}


@pytest.mark.parametrize("task", ["replaced-token-detection", "text2text-generation"])
def test_a_task_without_a_head_lists_those_there_are(task: str, tmp_path: Path) -> None:
    folder = understanding.checkpoint(tmp_path, "BertForPreTraining")
    with pytest.raises(UsageError, match=f'no head for "{task}"') as caught:
        load_model(folder, task)
    assert "next-sentence-prediction" in caught.value.expected
    assert task not in caught.value.expected
    assert caught.value.exit_code == 2


def test_both_heads_of_pretraining_can_be_compiled(tmp_path: Path) -> None:
    folder = understanding.checkpoint(tmp_path / "model", "BertForPreTraining")
    assert resolve(str(folder), cache=tmp_path / "cache").task == "fill-mask"
    for task, architecture in (
        ("fill-mask", "BertForMaskedLM"),
        ("next-sentence-prediction", "BertForNextSentencePrediction"),
    ):
        assert type(load_model(folder, task)).__name__ == architecture


@pytest.mark.parametrize(
    ("word", "task"),
    [
        ("sentiment-analysis", "text-classification"),
        ("text-ranking", "text-classification"),
        ("ner", "token-classification"),
        ("masked-lm", "fill-mask"),
        ("causal-lm", "text-generation"),
        ("text-generation-with-past", "text-generation"),
        ("summarization", "text2text-generation"),
        ("translation", "text2text-generation"),
    ],
)
def test_synonyms(word: str, task: str) -> None:
    from compiler.tasks import canonical

    assert canonical(word) == task


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels."""
    return understanding.checkpoint(
        tmp_path_factory.mktemp("classifier"), "BertForSequenceClassification", num_labels=3
    )


def edited(folder: Path, out: Path, **changes: Any) -> Path:
    """The checkpoint with another config.json."""
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).symlink_to(path)
    config = json.loads((out / "config.json").read_text()) | changes
    (out / "config.json").unlink()
    (out / "config.json").write_text(json.dumps(config))
    return out


@pytest.mark.parametrize("count", [2, 5])
def test_labels_that_are_not_as_many_as_the_heads_rows(classifier: Path, count: int, tmp_path: Path) -> None:
    labels = {str(index): f"label {index}" for index in range(count)}
    folder = edited(classifier, tmp_path / "model", id2label=labels, label2id={v: int(k) for k, v in labels.items()})
    with pytest.raises(CheckpointError, match="labels and head") as caught:
        load_model(folder, "text-classification")
    assert f"{count} labels" in caught.value.found
    assert "3 rows in classifier" in caught.value.found
    assert caught.value.exit_code == 4


def test_label_ids_that_are_not_the_heads_rows(classifier: Path, tmp_path: Path) -> None:
    folder = edited(classifier, tmp_path / "model", id2label={"1": "a", "2": "b", "3": "c"})
    with pytest.raises(CheckpointError, match="label ids") as caught:
        load_model(folder, "text-classification")
    assert "[1, 2, 3]" in caught.value.found
    assert caught.value.expected == "0 to 2"


def test_weights_of_another_size_than_the_configurations(classifier: Path, tmp_path: Path) -> None:
    folder = edited(classifier, tmp_path / "model", intermediate_size=48)
    with pytest.raises(CheckpointError, match="weights and configuration") as caught:
        load_model(folder, "text-classification")
    assert "(64" in caught.value.found
    assert "(48" in caught.value.expected


def test_a_padding_token_beyond_the_vocabulary(classifier: Path, tmp_path: Path) -> None:
    folder = edited(classifier, tmp_path / "model", pad_token_id=5000)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_model(folder, "text-classification")


def test_a_configuration_that_contradicts_itself(classifier: Path, tmp_path: Path) -> None:
    folder = edited(classifier, tmp_path / "model", hidden_size="wide")
    with pytest.raises(CheckpointError, match="configuration cannot be read"):
        tasks_of(folder)


def test_a_head_that_reads_a_missing_pooler_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler." not in name}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="no trained weights") as raised:
        load_model(tmp_path, "text-classification")
    assert "pooler" in raised.value.found
    assert "text-classification" not in raised.value.action
    load_model(tmp_path, "feature-extraction")


def test_a_wrong_task_is_answered_with_those_that_the_weights_are_for(tmp_path: Path) -> None:
    transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no trained weights") as raised:
        load_model(tmp_path, "fill-mask")
    offered, _, lacking = raised.value.action.partition(" (no weights for ")
    assert offered.startswith("choose another task with --task: text-classification, ")
    assert "feature-extraction" in offered
    assert "question-answering" in lacking
    with pytest.raises(UsageError, match="no head") as caught:
        load_model(tmp_path, "text2text-generation")
    assert "--task: text-classification, " in caught.value.action
