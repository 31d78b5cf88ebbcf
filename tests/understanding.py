"""Tiny random encoders with a WordPiece tokenizer, one for each task, saved as checkpoints and built into bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from compiler import pipeline

CONTEXT = 64
WORDS = (
    *("the", "a", "old", "young", "captain", "sailor", "of", "in", "from", "left", "reached", "."),
    *("harbour", "london", "paris", "boston", "rain", "storm", "night"),
)
PARTS = ("##s", "##er", "##ed", "##ing", "##ly", "sail", "walk", "quick", "un", "?", ",", "who", "where", "'")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = {token: index for index, token in enumerate((*SPECIAL, *WORDS, *PARTS))}
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.4,  # far from uniform answers
    "vocab_size": len(VOCABULARY),
}
LABELS = {0: "calm", 1: "stormy", 2: "unknown"}
ENTITIES = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC", 5: "MISC"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "feature-extraction": ("BertModel", {}),
    "fill-mask": ("BertForMaskedLM", {}),
    "text-classification": ("BertForSequenceClassification", {"num_labels": 3, "id2label": LABELS}),
    "token-classification": ("BertForTokenClassification", {"num_labels": 6, "id2label": ENTITIES}),
    "question-answering": ("BertForQuestionAnswering", {}),
    "multiple-choice": ("BertForMultipleChoice", {}),
    "next-sentence-prediction": ("BertForNextSentencePrediction", {}),
    "replaced-token-detection": ("ElectraForPreTraining", {"config": "ElectraConfig", "embedding_size": 32}),
}
TEXT = "the old captain sailed from london in a storm ."
LONG = " ".join([TEXT] * 12)


class Case(NamedTuple):
    """A checkpoint and its bundle in float32."""

    checkpoint: Path
    bundle: Path


def case(folder: Path, task: str) -> Case:
    """The case of a task, made in a new folder."""
    model, settings = MODELS[task]
    saved = checkpoint(folder / "checkpoint", model, **settings)
    return Case(saved, built(saved, task, folder / "bundle"))


def checkpoint(folder: Path, model: str, *, config: str = "BertConfig", **settings: Any) -> Path:
    """Save a random model of that class, its configuration and a tokenizer."""
    import torch
    import transformers

    torch.manual_seed(1)
    made = getattr(transformers, model)(getattr(transformers, config)(**SIZE | settings))
    with torch.no_grad():  # heads begin with no bias at all
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    made.eval().save_pretrained(folder)
    transformers.BertTokenizer(vocab=VOCABULARY, model_max_length=CONTEXT).save_pretrained(folder)
    return folder


def built(folder: Path, task: str, out: Path) -> Path:
    """The checkpoint's bundle in float32."""
    return pipeline.build(str(folder), task=task, out=out, profile="cpu-x86-avx2", precision="float32", bench=False)


def torch_pipeline(task: str, folder: Path) -> Any:
    """What transformers gives for the same checkpoint."""
    import transformers

    return transformers.pipeline(task, model=str(folder), tokenizer=str(folder), device="cpu")


def assert_same(found: Any, expected: Any) -> None:
    """Lists of answers are equal, at any depth, and their scores within 1e-4."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        if isinstance(mine, list):
            assert_same(mine, theirs)
        else:
            assert mine == {**theirs, "score": pytest.approx(theirs["score"], abs=1e-4)}
