from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.errors import InputError
from compiler.runtime import load
from tests.understanding import LONG, TEXT, Case


def test_the_probability_is_that_of_the_first_column(case: Callable[[str], Case]) -> None:
    import torch
    from transformers import BertForNextSentencePrediction, BertTokenizer

    saved, built = case("next-sentence-prediction")
    reference = BertForNextSentencePrediction.from_pretrained(saved)
    tokenizer = BertTokenizer.from_pretrained(saved)
    with load(built) as model:
        for pair in [(TEXT, "the rain left ."), ("rain", TEXT), (LONG, TEXT), (TEXT, ""), ("", TEXT)]:
            with torch.no_grad():
                logits = reference(**tokenizer(*pair, return_tensors="pt", truncation=True)).logits
            assert model.is_next(*pair) == pytest.approx(logits.softmax(-1)[0, 0].item(), abs=1e-5)
        with pytest.raises(InputError, match="the second text is a text"):
            model.is_next("rain", ["rain"])  # type: ignore[arg-type]
