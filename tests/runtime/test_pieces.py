from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from compiler.runtime.pieces import Pieces


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """One token a byte."""
    vocabulary = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def stream(tokenizer: Tokenizer, text: str, stops: list[str], prompt: str = "Say:") -> list[str]:
    pieces = Pieces(tokenizer, tokenizer.encode(prompt).ids, stops)
    found = []
    for token in tokenizer.encode(text).ids:
        found.append(pieces.add(token))
        if pieces.stopped:
            break
    return [*found, pieces.end()]


def test_a_character_of_several_tokens_comes_in_one_piece(tokenizer: Tokenizer) -> None:
    text = "é 日本 🙂!"
    pieces = [piece for piece in stream(tokenizer, text, []) if piece]
    assert pieces == list(text)


def test_an_unfinished_character_is_never_shown(tokenizer: Tokenizer) -> None:
    pieces = Pieces(tokenizer, [], [])
    tokens = tokenizer.encode("a🙂").ids[:-1]
    assert "".join([*map(pieces.add, tokens), pieces.end()]) == "a"


@pytest.mark.parametrize(
    ("text", "stops", "answer"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),
        ("one two", ["two three"], "one two"),
        ("aab", ["ab"], "a"),
        ("aaaab", ["aab"], "aa"),
        ("xabcy", ["abcd", "bc"], "xa"),
        ("stop", ["stop"], ""),
        ("a🙂b", ["🙂"], "a"),
    ],
)
def test_an_answer_ends_before_the_first_stop_text(
    tokenizer: Tokenizer, text: str, stops: list[str], answer: str
) -> None:
    assert "".join(stream(tokenizer, text, stops)) == answer


def test_no_piece_leaks_the_beginning_of_a_stop_text(tokenizer: Tokenizer) -> None:
    pieces = stream(tokenizer, "one</end", ["</end>"])
    assert pieces[-1] == "</end"
    assert "<" not in "".join(pieces[:-1])


def test_a_leading_space_survives_where_the_prompt_asks_for_one() -> None:
    vocabulary = {"▁the": 0, "▁capital": 1, "▁Paris": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="▁the"))
    tokenizer.decoder = decoders.Metaspace()
    assert Pieces(tokenizer, [0, 1], []).add(2) == " Paris"
    assert Pieces(tokenizer, [], []).add(2) == "Paris"
