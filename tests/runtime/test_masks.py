from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from compiler import bundle
from compiler.errors import InputError, UsageError
from compiler.runtime import Model, load
from tests import understanding
from tests.understanding import LONG, Case, assert_same

TEXTS = [
    "the old [MASK] sailed from london in a storm .",
    "[MASK]",
    "The captain left [MASK] , the night of [MASK] .",
    "who reached [MASK] ?",
]


@pytest.fixture(scope="module")
def saved(case: Callable[[str], Case]) -> Path:
    return case("fill-mask").checkpoint


@pytest.fixture(scope="module")
def model(saved: Path) -> Iterator[Model]:
    with load(saved.with_name("bundle")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pipeline(saved: Path) -> Any:
    return understanding.torch_pipeline("fill-mask", saved)


@pytest.mark.parametrize("top_k", [1, 5])
def test_fillings_are_those_of_the_pipeline(model: Model, pipeline: Any, top_k: int) -> None:
    assert_same(model.fill_mask(TEXTS, top_k), pipeline(TEXTS, top_k=top_k))
    for text in TEXTS:
        assert_same(model.fill_mask(text, top_k), pipeline(text, top_k=top_k))


def test_no_more_than_the_vocabulary(model: Model) -> None:
    found = model.fill_mask(TEXTS[0], 1000)
    assert len(found) == len(understanding.VOCABULARY)
    assert sum(each["score"] for each in found) == pytest.approx(1, abs=1e-4)


def test_targets(model: Model, pipeline: Any) -> None:
    for targets in (["captain", "sailor", "sail"], "rain"):
        assert_same(model.fill_mask(TEXTS[0], targets=targets), pipeline(TEXTS[0], targets=targets))
    assert_same(
        model.fill_mask(TEXTS[2], 2, targets=["rain", "of", "a"]),
        pipeline(TEXTS[2], top_k=2, targets=["rain", "of", "a"]),
    )


def test_a_target_of_several_tokens_counts_as_its_first(model: Model, pipeline: Any) -> None:
    with pytest.warns(UserWarning, match='"walking" is not one token of the model; "walk" stands for it'):
        found = model.fill_mask(TEXTS[0], targets=["walking", "rain"])
    assert_same(found, pipeline(TEXTS[0], targets=["walking", "rain"]))


def test_a_text_without_mask(model: Model) -> None:
    with pytest.raises(InputError, match=r"no mask token") as caught:
        model.fill_mask(["the [MASK]", "the old captain"])
    assert caught.value.expected == "[MASK]"
    assert "captain" in caught.value.found


def test_a_mask_behind_the_context(model: Model) -> None:
    with pytest.raises(InputError, match="within the first 64 tokens"):
        model.fill_mask(f"{LONG} [MASK]")


def test_spaces_are_cleaned_where_the_checkpoint_asks_for_it(saved: Path, tmp_path: Path) -> None:
    import json

    folders = copytree(saved, tmp_path / "checkpoint"), copytree(saved.with_name("bundle"), tmp_path / "bundle")
    for folder in folders:
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
        changed = json.dumps({**settings, "clean_up_tokenization_spaces": True})
        (folder / "tokenizer_config.json").write_text(changed)
    bundle.seal(folders[1], bundle.read(folders[1]))
    text = "who ' s old ? the [MASK] , the harbour ."
    with load(folders[1]) as model:
        found = model.fill_mask(text)
    assert_same(found, understanding.torch_pipeline("fill-mask", folders[0])(text))


def test_zero_texts(model: Model) -> None:
    assert model.fill_mask([]) == []


def test_wrong_arguments(model: Model) -> None:
    for text in (None, 3, ["a [MASK]", 3]):
        with pytest.raises(InputError, match="list of texts"):
            model.fill_mask(text)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="top_k"):
        model.fill_mask(TEXTS, 0)
    for targets in ([], [" "], [1]):
        with pytest.raises(InputError, match="target"):
            model.fill_mask(TEXTS, targets=targets)  # type: ignore[arg-type]


def test_a_tokenizer_without_mask_token(saved: Path, tmp_path: Path) -> None:
    copy = copytree(saved.with_name("bundle"), tmp_path / "bundle")
    text = (copy / "tokenizer_config.json").read_text().replace('"[MASK]"', "null")
    (copy / "tokenizer_config.json").write_text(text)
    bundle.seal(copy, bundle.read(copy))
    with load(copy) as model, pytest.raises(UsageError, match="no mask token"):
        model.fill_mask(TEXTS)
