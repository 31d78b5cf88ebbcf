from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import pytest

from compiler import bundle, records
from compiler.errors import InputError, UsageError
from compiler.records import Manifest
from compiler.runtime import Model, load
from tests import understanding
from tests.understanding import LONG, TEXT, Case, assert_same

TEXTS = ["rain", TEXT, "who sailed ?", "the harbour of boston , the night", "a"]


class Pairing(NamedTuple):
    """A bundle and transformers' pipeline on the same checkpoint."""

    model: Model
    pipeline: Any


@pytest.fixture(scope="module")
def folders(case: Callable[[str], Case]) -> Case:
    """A checkpoint of three labels and its bundle."""
    return case("text-classification")


@pytest.fixture(scope="module")
def several(folders: Case) -> Iterator[Pairing]:
    saved, built = folders
    with load(built) as model:
        yield Pairing(model, understanding.torch_pipeline("text-classification", saved))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairing]:
    """A single label, as rerankers have it."""
    folder = tmp_path_factory.mktemp("reranking")
    saved = understanding.checkpoint(folder / "checkpoint", "BertForSequenceClassification", num_labels=1)
    with load(understanding.built(saved, "text-classification", folder / "bundle")) as model:
        yield Pairing(model, understanding.torch_pipeline("text-classification", saved))


@pytest.mark.parametrize("top_k", [1, 2, None])
def test_labels_are_those_of_the_pipeline(several: Pairing, top_k: int | None) -> None:
    assert_same(several.model.classify(TEXTS, top_k), several.pipeline(TEXTS, top_k=top_k))
    assert_same(several.model.classify(TEXT, top_k), several.pipeline(TEXT, top_k=top_k))


def test_one_text_by_default_gives_what_the_pipeline_gives(several: Pairing) -> None:
    assert_same(several.model.classify(TEXT), several.pipeline(TEXT))


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none"])
def test_the_function_can_be_chosen(several: Pairing, function: str) -> None:
    expected = several.pipeline(TEXTS, top_k=None, function_to_apply=function)
    assert_same(several.model.classify(TEXTS, None, function=function), expected)


def test_pairs(several: Pairing) -> None:
    pairs = [("rain", TEXT), (TEXT, "rain"), ("a", "a"), ("rain", ""), ("", "rain"), ("", "")]
    expected = several.pipeline([{"text": first, "text_pair": second} for first, second in pairs], top_k=None)
    assert_same(several.model.classify(pairs, None), expected)
    for pair, labels in zip(pairs, expected, strict=True):
        assert_same(several.model.classify(pair, None), labels)
    assert several.model.classify(("rain", ""), None) == several.model.classify("rain", None)


def test_long_texts_are_cut_at_the_context(several: Pairing) -> None:
    assert_same(several.model.classify(LONG, None), several.pipeline(LONG, top_k=None, truncation=True))


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification", "single_label_classification"])
def test_the_checkpoint_decides_the_function(folders: Case, tmp_path: Path, problem: str) -> None:
    from transformers import BertForSequenceClassification

    saved, built = folders
    changed = copytree(saved, tmp_path / "checkpoint")
    BertForSequenceClassification.from_pretrained(saved, problem_type=problem).save_pretrained(changed)
    copy = copytree(built, tmp_path / "bundle")
    (copy / "config.json").write_bytes((changed / "config.json").read_bytes())
    bundle.seal(copy, bundle.read(copy))
    expected = understanding.torch_pipeline("text-classification", changed)(TEXTS, top_k=None)
    with load(copy) as model:
        assert_same(model.classify(TEXTS, None), expected)


def test_a_single_label_is_a_probability(one: Pairing) -> None:
    assert_same(one.model.classify(TEXTS, None), one.pipeline(TEXTS, top_k=None))


def test_rerank_orders_texts_by_the_score_of_the_pair(one: Pairing) -> None:
    scores = [each["score"] for each in one.pipeline([{"text": "who sailed", "text_pair": text} for text in TEXTS])]
    ranked = one.model.rerank("who sailed", TEXTS)
    assert [each["index"] for each in ranked] == sorted(range(len(TEXTS)), key=lambda index: -scores[index])
    assert [each["score"] for each in ranked] == pytest.approx(sorted(scores, reverse=True), abs=1e-4)
    assert all(each["text"] == TEXTS[each["index"]] for each in ranked)


def test_rerank_by_the_last_of_several_labels(several: Pairing) -> None:
    ranked = several.model.rerank("rain", TEXTS)
    for each in ranked:
        labelled = several.pipeline({"text": "rain", "text_pair": each["text"]}, top_k=None)
        assert {"label": "unknown", "score": pytest.approx(each["score"], abs=1e-4)} in labelled


def test_without_padding_token_rows_of_one_length_go_together(folders: Case, tmp_path: Path) -> None:
    """Models that read their last token as the answer see no padding at all."""
    copy = copytree(folders.bundle, tmp_path / "bundle")
    for name in ("config.json", "tokenizer_config.json"):
        text = (copy / name).read_text().replace('"pad_token_id": 0', '"pad_token_id": null')
        (copy / name).write_text(text.replace('"pad_token": "[PAD]"', '"pad_token": null'))
    bundle.seal(copy, bundle.read(copy))
    seen: list[tuple[int, ...]] = []
    with load(folders.bundle) as padded, load(copy) as model:
        run = model._session.run
        model._open.run = lambda feeds: seen.append(feeds["input_ids"].shape) or run(feeds)  # type: ignore[union-attr]
        assert_same(model.classify([*TEXTS, TEXTS[0]], None), padded.classify([*TEXTS, TEXTS[0]], None))
    assert seen == [(3, 3), (1, 6), (1, 9), (1, 13)]


def test_zero_texts(several: Pairing) -> None:
    assert several.model.classify([]) == []
    assert several.model.rerank("rain", []) == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((3,), "3"),
        ((["a", None],), "None"),
        ((("a", "b", "c"),), "'c'"),
        (([("a", 1)],), "1"),
        ((TEXT, 0), "top_k"),
        ((TEXT, "2"), "top_k"),
        ((TEXT, True), "top_k"),
    ],
)
def test_wrong_arguments(several: Pairing, arguments: tuple[Any, ...], part: str) -> None:
    with pytest.raises(InputError, match=part):
        several.model.classify(*arguments)


def test_a_function_that_is_unknown(several: Pairing) -> None:
    with pytest.raises(InputError, match='did you mean "softmax"'):
        several.model.classify(TEXT, function="softmx")


def test_wrong_arguments_for_rerank(several: Pairing) -> None:
    with pytest.raises(InputError, match="query"):
        several.model.rerank(["rain"], TEXTS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a single str"):
        several.model.rerank("rain", TEXT)


def test_other_tasks_name_the_one_to_build_for(several: Pairing, encoder: Model) -> None:
    with pytest.raises(UsageError, match="--task text-classification"):
        encoder.classify(TEXT)
    with pytest.raises(UsageError, match="--task fill-mask"):
        several.model.fill_mask(TEXT)


def test_a_label_that_the_configuration_leaves_out_has_a_number(folders: Case) -> None:
    from compiler.runtime.scores import labels
    from compiler.runtime.text import Text

    manifest = records.load(folders.bundle / bundle.MANIFEST, Manifest)
    text = Text(bundle.Files(folders.bundle, manifest), manifest)
    text.config = {"id2label": {"1": "stormy"}}
    assert labels(manifest, text) == ["LABEL_0", "stormy", "LABEL_2"]
