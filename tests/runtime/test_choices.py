from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compiler.errors import InputError
from compiler.runtime import Model, load
from tests.understanding import LONG, TEXT, Case

CHOICES = ["the storm left .", "rain", "who walked quickly ?", LONG]


@pytest.fixture(scope="module")
def saved(case: Callable[[str], Case]) -> Path:
    return case("multiple-choice").checkpoint


@pytest.fixture(scope="module")
def model(saved: Path) -> Iterator[Model]:
    with load(saved.with_name("bundle")) as opened:
        yield opened


@pytest.mark.parametrize("count", [1, 2, 4])
def test_probabilities_are_those_of_pytorch(model: Model, saved: Path, count: int) -> None:
    import torch
    from transformers import BertForMultipleChoice, BertTokenizer

    choices = CHOICES[-count:]
    encoded = BertTokenizer.from_pretrained(saved)(
        [TEXT] * count, choices, return_tensors="pt", padding=True, truncation=True
    )
    with torch.no_grad():
        logits = BertForMultipleChoice.from_pretrained(saved)(**{k: v[None] for k, v in encoded.items()}).logits
    found = model.choose(TEXT, choices)
    assert found["probabilities"] == pytest.approx(logits[0].softmax(-1).tolist(), abs=1e-4)
    assert found["index"] == logits.argmax().item()
    assert found["choice"] == choices[found["index"]]


def test_wrong_arguments(model: Model) -> None:
    with pytest.raises(InputError, match="a single str"):
        model.choose(TEXT, "rain")
    with pytest.raises(InputError, match="nothing to choose from"):
        model.choose(TEXT, [])
    with pytest.raises(InputError, match="prompt is a text"):
        model.choose([TEXT], CHOICES)  # type: ignore[arg-type]
