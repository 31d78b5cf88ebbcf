from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from compiler.check.feeds import Text
from compiler.checkpoint.marks import Marks
from compiler.errors import InputError
from tests.check.toy import TEXT
from tests.models import write_tokenizer


def text(folder: Path, *, special: bool, words: str = TEXT, marks: Marks | None = None) -> Text:
    write_tokenizer(folder, bos=special)
    return Text([words], folder / "tokenizer.json", marks or Marks())


def test_windows_begin_as_the_model_expects_and_do_not_overlap(tmp_path: Path) -> None:
    source = text(tmp_path, special=True)
    windows = source.windows(3, 16)
    assert [len(window) for window in windows] == [16, 16, 16]
    assert all(window[0] == 1 and 2 not in window for window in windows)
    words = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    assert [*windows[0][1:], *windows[1][1:], *windows[2][1:]] == words[:45]


def test_windows_stop_at_the_end_of_the_text(tmp_path: Path) -> None:
    assert len(text(tmp_path, special=False, words=" ".join(TEXT.split()[:40])).windows(8, 16)) == 2


def test_too_short_a_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too short"):
        text(tmp_path, special=False, words="ban").windows(8, 16)


def test_pieces_have_their_lengths_and_both_special_tokens(tmp_path: Path) -> None:
    pieces = text(tmp_path, special=True).pieces([5, 12, 3])
    assert [len(piece) for piece in pieces] == [5, 12, 3]
    assert all((piece[0], piece[-1]) == (1, 2) for piece in pieces)


def test_a_batch_is_padded_on_the_right(tmp_path: Path) -> None:
    source = text(tmp_path, special=True)
    batch = source.batch(source.pieces([3, 5]), ["input_ids", "attention_mask", "token_type_ids"])
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["input_ids"][0, 3:].tolist() == [0, 0]
    assert batch["token_type_ids"].tolist() == [[0] * 5] * 2
    assert {array.dtype.name for array in batch.values()} == {"int64"}


def test_padding_and_truncation_of_the_tokenizer_are_not_used(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=3, length=128)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    source = Text([TEXT], tmp_path / "tokenizer.json", Marks())
    assert len(source.windows(4, 200)) == 4


def test_an_input_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    source = text(tmp_path, special=True)
    with pytest.raises(InputError, match="pixel_values"):
        source.batch(source.pieces([3]), ["input_ids", "pixel_values"])


def test_pairs_are_two_texts_of_the_length_asked_for(tmp_path: Path) -> None:
    source = text(tmp_path, special=True)
    pairs = source.pairs([12, 40, 2])
    assert [len(ids) for ids, _ in pairs[:2]] == [12, 40]
    for ids, types in pairs:
        assert len(ids) == len(types)
        assert sorted(types.tolist()) == types.tolist()
        assert set(types.tolist()) == {0, 1}
    assert pairs[0][0].tolist() != pairs[1][0][:12].tolist()
    batch = source.batch([*pairs, *source.pieces([5])], ["input_ids", "token_type_ids"])
    assert batch["token_type_ids"].shape == (4, 40)
    assert batch["token_type_ids"][0].sum() == pairs[0][1].sum()
    assert not batch["token_type_ids"][3].any()


def test_the_tokenizer_cuts_nothing_after_pairs_were_made(tmp_path: Path) -> None:
    source = text(tmp_path, special=True)
    source.pairs([8])
    assert len(source.pieces([64])[0]) == 64


def test_a_pair_is_made_of_a_short_text_too(tmp_path: Path) -> None:
    (ids, types), *_ = text(tmp_path, special=True, words=" ".join(TEXT.split()[:30])).pairs([64])
    assert 2 < len(ids) <= 64
    assert set(types.tolist()) <= {0, 1}


def test_a_batch_is_padded_where_the_tokenizer_pads(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, bos=True)
    source = Text([TEXT], tmp_path / "tokenizer.json", Marks(left=True))
    pieces = source.pieces([3, 5])
    batch = source.batch(pieces, ["input_ids", "attention_mask"])
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert batch["input_ids"][0, 2:].tolist() == pieces[0].tolist()
