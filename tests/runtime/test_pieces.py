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


@pytest.mark.parametrize("text", ["a🙂", "a 🙂", " 🙂", "🙂", "日本🙂"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_an_answer_that_ends_in_a_character_is_what_its_tokens_say(tokenizer: Tokenizer, text: str, cut: int) -> None:
    pieces = Pieces(tokenizer, tokenizer.encode("Say:").ids, [])
    tokens = tokenizer.encode(text).ids[:-cut]
    grown = list(map(pieces.add, tokens))
    assert "".join([*grown, pieces.end()]) == tokenizer.decode(tokens)
    assert "\ufffd" not in "".join(grown)
    assert pieces.end() == ""


def test_a_letter_beside_half_a_character_is_not_lost() -> None:
    """A token of a whole letter and the first byte of the next, as large vocabularies have."""
    symbols = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(symbols | {"ĠÐ´Ð": 257}, []))
    made.decoder = decoders.ByteLevel()
    pieces = Pieces(made, [made.token_to_id("a")], [])
    assert [pieces.add(257), pieces.end()] == ["", made.decode([257])]
    assert made.decode([257]) == " д\ufffd"


def test_bytes_that_stand_for_a_character_come_in_one_piece() -> None:
    """Where a tokenizer falls back to bytes, a run of them that is incomplete hides the ones before it."""
    vocabulary = {"▁a": 0, **{f"<0x{byte:02X}>": 1 + byte for byte in range(256)}}
    made = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    pieces = Pieces(made, [0], [])
    tokens = [0, *(1 + byte for byte in "日本".encode())]
    assert [piece for piece in [*map(pieces.add, tokens), pieces.end()] if piece] == [" a", "日", "本"]


def test_a_stop_text_is_seen_before_half_a_character(tokenizer: Tokenizer) -> None:
    pieces = Pieces(tokenizer, [], ["b"])
    made = [pieces.add(token) for token in tokenizer.encode("ab").ids]
    assert (made, pieces.stopped) == (["a", ""], True)


def test_a_stop_text_may_be_a_special_token(tokenizer: Tokenizer) -> None:
    from copy import deepcopy

    special = deepcopy(tokenizer)
    special.add_special_tokens(["<|end|>", "<|other|>"])
    pieces = Pieces(special, [], ["<|end|>"])
    made = [pieces.add(token) for token in special.encode("a<|other|>b<|end|>").ids]
    assert ("".join(made), pieces.stopped, pieces.end()) == ("ab", True, "")


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
