"""Tokens, conversations and labels of a bundle are those that transformers makes of the checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler import bundle, pipeline, records
from compiler.check.tokens import Sides, token_findings
from compiler.checkpoint import resolve
from compiler.checkpoint.tokens import Tokens
from compiler.records import Finding, Manifest
from compiler.runtime.tokenized import Tokenized
from tests import sentence
from tests.understanding import Case, built

RUNNING = ["Some text that is neither odd nor long. " * 3]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}assistant:"


@pytest.fixture(scope="module")
def chatting(tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The tiny Llama with a chat template."""
    folder = tmp_path_factory.mktemp("chatting")
    shutil.copytree(tiny_decoder, folder / "checkpoint")
    (folder / "checkpoint" / "chat_template.jinja").write_text(TEMPLATE)
    return Case(folder / "checkpoint", built(folder / "checkpoint", "text-generation", folder / "bundle"))


@pytest.fixture(scope="module")
def small_letters(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A sentence encoder that reads small letters, and 20 tokens at most."""
    folder = tmp_path_factory.mktemp("small")
    saved = sentence.bert(folder / "checkpoint")
    (saved / "1_Pooling").mkdir()
    (saved / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": sentence.HIDDEN, "pooling_mode_mean_tokens": True})
    )
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    (saved / "modules.json").write_text(
        json.dumps(
            [
                {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
                for index, (path, name) in enumerate(modules)
            ]
        )
    )
    (saved / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": True}))
    return Case(saved, built(saved, "feature-extraction", folder / "bundle"))


def judged(made: Path, checkpoint: Path, cache: Path) -> Finding:
    manifest = records.load(made / bundle.MANIFEST, Manifest)
    original = resolve(str(checkpoint), task=manifest.task, cache=cache)
    sides = Sides(Tokenized(bundle.Files(made, manifest), manifest), Tokens(original, manifest))
    (found,) = token_findings(sides, RUNNING, manifest.task)
    return found


def changed(made: Path, out: Path, name: str, change: Callable[[Any], None]) -> Path:
    """A sealed copy of a bundle with one JSON file changed."""
    shutil.copytree(made, out)
    content = json.loads((out / name).read_text(encoding="utf-8"))
    change(content)
    (out / name).write_text(json.dumps(content), encoding="utf-8")
    bundle.seal(out, records.load(out / bundle.MANIFEST, Manifest))
    return out


def test_a_right_bundle_has_the_tokens_of_transformers(
    case: Callable[[str], Case], chatting: Case, small_letters: Case, tmp_path: Path
) -> None:
    found = {
        name: judged(made.bundle, made.checkpoint, tmp_path)
        for name, made in (("bert", case("text-classification")), ("llama", chatting), ("small", small_letters))
    }
    assert [(name, each.value) for name, each in found.items()] == [("bert", 0), ("llama", 0), ("small", 0)]
    assert "labels" in found["bert"].basis
    assert "4 conversations" in found["llama"].basis


def swap_entries(content: Any) -> None:
    vocabulary = content["model"]["vocab"]
    one, other = list(vocabulary)[-2:]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]


def lose_normalizer(content: Any) -> None:
    content["normalizer"] = None


def reverse_labels(content: Any) -> None:
    names = list(content["id2label"].values())
    content["id2label"] = dict(zip(content["id2label"], reversed(names), strict=True))


@pytest.mark.parametrize(
    ("name", "change", "first"),
    [
        ("tokenizer.json", swap_entries, "t"),
        ("tokenizer.json", lose_normalizer, "text"),
        ("tokenizer_config.json", lambda content: content.update(truncation_side="left"), "text"),
        ("tokenizer_config.json", lambda content: content.update(model_max_length=9), "text"),
        ("tokenizer_config.json", lambda content: content.update(model_input_names=["input_ids"]), "text"),
        ("config.json", reverse_labels, "label"),
    ],
)
def test_another_tokenizer_or_other_labels_fail(
    name: str, change: Callable[[Any], None], first: str, case: Callable[[str], Case], tmp_path: Path
) -> None:
    right = case("text-classification")
    found = judged(changed(right.bundle, tmp_path / "out", name, change), right.checkpoint, tmp_path)
    assert not found.passed
    assert f"the first that differs: {first}" in found.basis


def test_large_letters_in_a_sentence_encoder_fail(small_letters: Case, tmp_path: Path) -> None:
    wrong = changed(small_letters.bundle, tmp_path / "out", "tokenizer.json", lose_normalizer)
    assert not judged(wrong, small_letters.checkpoint, tmp_path).passed


def test_the_check_fails_with_another_chat_template(
    chatting: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "cache"))
    wrong = tmp_path / "out"
    shutil.copytree(chatting.bundle, wrong)
    (wrong / "chat_template.jinja").write_text(TEMPLATE.replace("assistant:", "assistant: "))
    bundle.seal(wrong, records.load(wrong / bundle.MANIFEST, Manifest))
    checked = pipeline.check(wrong, reference=str(chatting.checkpoint))
    assert checked.reasons == ("tokens.differences",)
    right = pipeline.check(chatting.bundle, reference=str(chatting.checkpoint))
    assert right.passed
    assert any(each.name == "tokens.differences" for each in right.findings)
