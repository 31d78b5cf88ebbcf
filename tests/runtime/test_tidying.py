"""Judged by transformers' own decoding of the same tokens."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from compiler.runtime.pieces import Pieces
from compiler.runtime.tidying import Tidied, tidied

PARTS = [
    " ",
    "  ",
    " .",
    " ?",
    " !",
    " ,",
    " '",
    " n",
    "n't",
    " 's",
    "'m",
    "'",
    "ve",
    "'ve",
    " 're",
    "t",
    "the cat",
    "日本語",
    "7",
]


def spelled(parts: list[str]) -> str:
    """What transformers says that these tokens are."""
    made = Tokenizer(models.WordLevel({part: index for index, part in enumerate(PARTS)}, unk_token=" "))
    made.decoder = decoders.Fuse()
    slow: Any = PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=True)
    return str(slow.decode([PARTS.index(part) for part in parts]))


@pytest.mark.parametrize("seed", range(300))
def test_pieces_are_tidied_as_the_whole_text(seed: int) -> None:
    parts = random.Random(seed).choices(PARTS, k=40)
    right = spelled(parts)
    text = Tidied()
    assert tidied("".join(parts)) == right
    assert "".join([*map(text.add, parts), text.end()]) == right


def test_text_comes_before_the_end() -> None:
    text = Tidied()
    assert text.add("the cat 's tail ,") == "the cat's tai"
    assert text.add(" which") == "l, whic"
    assert text.end() == "h"


def test_an_answer_is_tidied() -> None:
    made = Tokenizer(models.WordLevel({"who": 0, "is": 1, "it": 2, "?": 3, "'": 4, "s": 5}, unk_token="who"))
    tokens = [0, 4, 5, 1, 2, 3]
    assert made.decode(tokens) == "who ' s is it ?"
    for tidies, right in ((True, "who's is it?"), (False, "who ' s is it ?")):
        pieces = Pieces(made, [], [], tidies=tidies)
        assert "".join([*map(pieces.add, tokens), pieces.end()]) == right
