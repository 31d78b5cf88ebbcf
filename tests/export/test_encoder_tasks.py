"""Every task of an encoder: the graph's inputs and outputs, its numbers, and tokenizers that do not fit."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
import transformers

from compiler.checkpoint import load_model, resolve
from compiler.checkpoint.reference import Reference
from compiler.errors import CheckpointError
from compiler.export import export, portable
from compiler.records import Exported
from compiler.tasks import TASKS
from tests import understanding
from tests.understanding import MODELS, TEXT, Case

LABELS = {
    "feature-extraction": ("batch", "sequence", 32),
    "fill-mask": ("batch", "sequence", len(understanding.VOCABULARY)),
    "text-classification": ("batch", 3),
    "token-classification": ("batch", "sequence", 6),
    "question-answering": ("batch", "sequence"),
    "multiple-choice": ("batch", "choices"),
    "next-sentence-prediction": ("batch", 2),
    "replaced-token-detection": ("batch", "sequence"),
}


@pytest.fixture(scope="module")
def portable_model(
    case: Callable[[str], Case], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Exported]]:
    """The folder and record of a task's portable model."""
    root = tmp_path_factory.mktemp("portable")

    @functools.cache
    def find(task: str) -> tuple[Path, Exported]:
        return root / task, exported(case(task).checkpoint, task, root / task)

    return find


def exported(folder: Path, task: str, out: Path) -> Exported:
    out.mkdir()
    return export(resolve(str(folder), task=task, cache=out.with_name("cache")), out)


@pytest.mark.parametrize("task", MODELS)
def test_a_task_computes_what_pytorch_does(
    task: str, case: Callable[[str], Case], portable_model: Callable[[str], tuple[Path, Exported]]
) -> None:
    folder, record = portable_model(task)
    axes = ("batch", "choices", "sequence") if task == "multiple-choice" else ("batch", "sequence")
    assert {each.name: each.shape for each in record.inputs} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), axes
    )
    assert {each.name: each.shape for each in record.outputs} == dict.fromkeys(TASKS[task].outputs, LABELS[task])

    shape = (3, 4, 11) if task == "multiple-choice" else (3, 11)
    lengths = np.array([11, 4, 9]).reshape(3, *([1] * (len(shape) - 1)))
    columns = np.arange(11)
    feeds = {
        "input_ids": np.random.default_rng(1).integers(5, record.vocabulary, shape),
        "attention_mask": np.broadcast_to(columns < lengths, shape).astype(np.int64, order="C"),
        "token_type_ids": np.broadcast_to(columns > lengths // 2, shape).astype(np.int64, order="C"),
    }
    session = ort.InferenceSession(folder / portable.MODEL)
    names = [each.name for each in session.get_outputs()]
    found = dict(zip(names, session.run(names, feeds), strict=True))
    reference = Reference(case(task).checkpoint, task)
    expected = reference.run(feeds)
    plain = reference.run({**feeds, "token_type_ids": np.zeros_like(feeds["token_type_ids"])})
    assert set(found) == set(expected)
    for name, array in found.items():
        real = feeds["attention_mask"] == 1 if LABELS[task][1] == "sequence" else slice(None)
        np.testing.assert_allclose(array[real], expected[name][real], atol=2e-5)
        assert np.abs(expected[name] - plain[name]).max() > 1e-3, "token types matter"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return understanding.checkpoint(tmp_path_factory.mktemp("plain"), "BertModel")


def retokenized(folder: Path, out: Path, **tokens: Any) -> Path:
    """The checkpoint with a tokenizer of other special tokens."""
    shutil.copytree(folder, out)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **tokens)
    tokenizer.save_pretrained(out)
    return out


def test_a_vocabulary_larger_than_the_embedding_is_refused(plain: Path, tmp_path: Path) -> None:
    tokens = [f"<extra{index}>" for index in range(3)]
    folder = retokenized(plain, tmp_path / "model", extra_special_tokens=tokens)
    rows = len(understanding.VOCABULARY)
    with pytest.raises(CheckpointError, match="do not belong together") as caught:
        exported(folder, "feature-extraction", tmp_path / "out")
    assert caught.value.found == f"token {rows + 2} ('<extra2>') in the tokenizer, {rows} rows in the embedding"
    assert caught.value.exit_code == 4


def test_a_special_token_beyond_the_embedding_is_refused(plain: Path, tmp_path: Path) -> None:
    """Numbers of tokens may have gaps, so that few tokens can still have a number too large."""
    folder = retokenized(plain, tmp_path / "model")
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace(f'"night": {understanding.VOCABULARY["night"]}', '"night": 900'))
    with pytest.raises(CheckpointError, match="do not belong together") as caught:
        exported(folder, "feature-extraction", tmp_path / "out")
    assert "token 900 ('night')" in caught.value.found


def test_a_bundle_knows_what_its_tokenizer_gives(case: Callable[[str], Case]) -> None:
    original, carried = map(transformers.AutoTokenizer.from_pretrained, case("feature-extraction"))
    assert carried.model_input_names == original.model_input_names
    assert carried.padding_side == original.padding_side
    assert dict(carried(TEXT, TEXT)) == dict(original(TEXT, TEXT))


def test_a_classifier_that_looks_for_padding_it_has_not(tmp_path: Path) -> None:
    """Decoders with a classifier read the last token; without a padding token it is the last column."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        num_labels=3,
        vocab_size=len(understanding.VOCABULARY),
        bos_token_id=2,
        eos_token_id=3,
        initializer_range=0.4,
    )
    folder = tmp_path / "model"
    transformers.GPT2ForSequenceClassification(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=transformers.BertTokenizer(vocab=understanding.VOCABULARY)._tokenizer
    ).save_pretrained(folder)
    record = exported(folder, "text-classification", tmp_path / "out")
    assert resolve(str(folder), cache=tmp_path / "cache").task == "text-classification"
    model: Any = load_model(folder, "text-classification")
    ids = np.random.default_rng(0).integers(5, record.vocabulary, (3, 9))
    with torch.inference_mode():
        expected = np.concatenate([model(input_ids=torch.from_numpy(row[None])).logits.numpy() for row in ids])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    session = ort.InferenceSession(tmp_path / "out" / portable.MODEL)
    names = [each.name for each in session.get_inputs()]
    (found,) = session.run(None, {name: feeds[name] for name in names})
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(Reference(folder, "text-classification").run(feeds)["logits"], expected, atol=2e-5)
