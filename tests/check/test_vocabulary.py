"""Tokens that running text lacks are read too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from compiler.check.examples import spread_tokens
from tests.check.toy import TEXT, Feeds, Toy, ToySession, checked, manifest
from tests.models import SPECIAL, WORDS

LACKED = next(number for number, word in enumerate(WORDS, start=len(SPECIAL)) if word not in TEXT.split())


class Mistaken(Toy):
    """One token's answers are wrong."""

    def run(self, feeds: Feeds) -> Feeds:
        wrong = feeds["input_ids"] == LACKED
        return {name: array + wrong[..., None] for name, array in super().run(feeds).items()}

    def logits(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray) -> np.ndarray:
        wrong = np.cumsum(input_ids == LACKED, axis=1) > 0
        return super().logits(input_ids, attention_mask, position_ids) + wrong[..., None]


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_wrong_token_that_the_text_lacks_is_found(kind: Literal["encoder", "decoder"], tmp_path: Path) -> None:
    reasons = checked(ToySession(Mistaken()), manifest(kind), tmp_path).reasons
    assert "vocabulary.max_abs_error" in reasons
    assert "output.max_abs_error" not in reasons


def test_tokens_are_all_or_evenly_spread() -> None:
    assert set(spread_tokens(10, (3, 8)).ravel().tolist()) == set(range(10))
    large = spread_tokens(150_000, (2, 4))
    assert large.tolist() == [[0, 21428, 42856, 64285], [85713, 107142, 128570, 149999]]
