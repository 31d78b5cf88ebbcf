from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from compiler import bundle
from compiler.errors import UsageError
from compiler.evaluate.robustness import KINDS, Padded, changed, drop, kinds
from compiler.evaluate.scored import mean_of
from compiler.runtime.text import Text
from tests.understanding import Case

ITEMS = [{"text": "some of these words will be [MASK] written", "label": "badly"} for _ in range(20)]


def test_typos_are_few_seeded_and_leave_the_mask() -> None:
    found = [item["text"] for item in changed(ITEMS, "typos", 1, "[MASK]")]
    assert found == [item["text"] for item in changed(ITEMS, "typos", 1, "[MASK]")]
    assert found != [item["text"] for item in changed(ITEMS, "typos", 2, "[MASK]")]
    words = [(a, b) for text in found for a, b in zip(text.split(), ITEMS[0]["text"].split(), strict=True)]
    wrong = [(a, b) for a, b in words if a != b]
    assert 0.03 < len(wrong) / len(words) < 0.25
    assert all(abs(len(a) - len(b)) <= 1 for a, b in wrong)
    assert all("[MASK]" in text for text in found)
    assert {item["label"] for item in changed(ITEMS, "typos", 1, "")} == {"badly"}


def test_capitals_and_halves() -> None:
    (item,) = changed(ITEMS[:1], "case", 0, "[MASK]")
    assert item["text"] == "SOME OF THESE WORDS WILL BE [MASK] WRITTEN"
    (item,) = changed(ITEMS[:1], "truncation", 0, "")
    assert item["text"] == "some of these words"
    (item,) = changed(ITEMS[:1], "truncation", 0, "[MASK]")
    assert item["text"] == "will be [MASK] written"
    words = {"words": ["a", "b", "c"], "tags": ["x", "y", "z"]}
    assert changed([words], "truncation", 0, "") == [{"words": ["a", "b"], "tags": ["x", "y"]}]
    asked = {"question": "who was it then", "context": "it was me", "answers": ["me"]}
    assert changed([asked], "case", 0, "") == [{**asked, "question": "WHO WAS IT THEN"}]


class Echo:
    """Gives back its tokens, and their sum."""

    def __init__(self) -> None:
        self.feeds: dict[str, np.ndarray] = {}

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.feeds = feeds
        ids = feeds["input_ids"]
        return {"tokens": ids.astype(np.float32), "pooled": (ids * feeds["attention_mask"]).sum(axis=-1, keepdims=True)}


def test_padding_is_added_before_and_taken_off_after() -> None:
    echo = Echo()
    feeds = {name: np.array([[5, 6, 7]]) for name in ("input_ids", "position_ids")}
    feeds["attention_mask"] = np.ones((1, 3), np.int64)
    found = Padded(echo, pad=9, limit=5).run(feeds)
    assert echo.feeds["input_ids"].tolist() == [[5, 6, 7, 9, 9]]
    assert echo.feeds["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]
    assert echo.feeds["position_ids"].tolist() == [[0, 1, 2, 3, 4]]
    assert found["tokens"].tolist() == [[5, 6, 7]]
    assert found["pooled"].tolist() == [[18]]


def test_a_drop_is_above_zero_when_it_gets_worse() -> None:
    plain, worse = mean_of([1, 1, 0]), mean_of([1, 0, 0])
    assert drop(plain, worse, True).items == (0, 1, 0)
    assert drop(plain, worse, False).statistic(np.arange(3)) == -1 / 3


def test_kinds_that_mean_something_to_the_model(case: Callable[[str], Case], decoder_bundle: Path) -> None:
    encoder, decoder = ((Text(bundle.Files(folder, bundle.read(folder)), bundle.read(folder)), bundle.read(folder))
                        for folder in (case("text-classification").bundle, decoder_bundle))  # fmt: skip
    assert kinds(["all"], *encoder) == list(KINDS)
    assert kinds(["padding", "typos"], *encoder) == ["typos", "padding"]
    assert kinds([], *encoder) == []
    text, about = encoder
    assert kinds(["all"], text, replace(about, padding="changes answers")) == ["typos", "case", "truncation"]
    assert kinds(["all"], *decoder) == ["typos", "case", "truncation"]
    with pytest.raises(UsageError, match="not for this model"):
        kinds(["padding"], *decoder)
    with pytest.raises(UsageError, match='did you mean "typos"'):
        kinds(["tpyos"], *encoder)
