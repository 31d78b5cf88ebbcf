from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compiler.errors import InputError
from compiler.runtime import Model, load
from tests.understanding import LONG, TEXT, Case, assert_same

TEXTS = [TEXT, "rain", "The sailors walked, unquickly", LONG, ""]


@pytest.fixture(scope="module")
def saved(case: Callable[[str], Case]) -> Path:
    return case("replaced-token-detection").checkpoint


@pytest.fixture(scope="module")
def model(saved: Path) -> Iterator[Model]:
    with load(saved.with_name("bundle")) as opened:
        yield opened


def test_probabilities_are_those_of_pytorch(model: Model, saved: Path) -> None:
    import torch
    from transformers import BertTokenizer, ElectraForPreTraining

    tokenizer = BertTokenizer.from_pretrained(saved)
    reference = ElectraForPreTraining.from_pretrained(saved)
    found = model.detect_replaced(TEXTS)
    for text, mine in zip(TEXTS, found, strict=True):
        encoded = tokenizer(text, return_tensors="pt", truncation=True, return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")[0, 1:-1].tolist()
        with torch.no_grad():
            scores = reference(**encoded).logits[0, 1:-1].sigmoid().tolist()
        assert [each["score"] for each in mine] == pytest.approx(scores, abs=1e-4)
        assert [[each["start"], each["end"]] for each in mine] == offsets
        assert [each["word"] for each in mine] == encoded.tokens()[1:-1]
        assert [each["index"] for each in mine] == list(range(1, len(mine) + 1))
    assert_same(model.detect_replaced(TEXT), found[0])


def test_zero_texts_and_wrong_ones(model: Model) -> None:
    assert model.detect_replaced([]) == []
    with pytest.raises(InputError, match="int at 0"):
        model.detect_replaced([1])  # type: ignore[list-item]
