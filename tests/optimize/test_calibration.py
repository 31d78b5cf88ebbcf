from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from compiler.corpus import calibration_text
from compiler.errors import CheckpointError
from compiler.optimize.calibration import rare_feeds, text_feeds
from compiler.records import Tensor
from tests.optimize.graphs import exported


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word tokenizer with BERT's frame around a text."""
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(calibration_text(), trainers.WordLevelTrainer(vocab_size=500, special_tokens=special))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def test_an_encoder_gets_padded_batches_of_unequal_lengths(tokenizer: Path) -> None:
    feeds = text_feeds(tokenizer, exported(vocabulary=500), 10, 24, 0)
    assert [len(feed["input_ids"]) for feed in feeds] == [4, 4, 2]
    lengths = np.concatenate([feed["attention_mask"].sum(axis=1) for feed in feeds])
    assert len(set(lengths.tolist())) > 3
    assert lengths.max() <= 24
    for feed in feeds:
        for ids, mask in zip(feed["input_ids"], feed["attention_mask"], strict=True):
            assert ids[0] == 1, "the first token is [CLS]"
            assert ids[mask.sum() - 1] == 2, "the last real token is [SEP]"
            assert not ids[mask == 0].any()


def test_a_decoder_gets_full_passages_and_an_empty_cache(tokenizer: Path) -> None:
    (feed,) = text_feeds(tokenizer, exported("decoder", vocabulary=500), 3, 24, 0)
    assert feed["input_ids"].shape == feed["attention_mask"].shape == (3, 24)
    assert feed["attention_mask"].all()
    assert feed["past_key_values.0.key"].shape == (3, 1, 0, 4)
    assert feed["logits_positions"].tolist() == [[23]] * 3
    np.testing.assert_array_equal(feed["position_ids"], np.tile(np.arange(24), (3, 1)))


def test_the_shortest_texts_are_those_that_the_tokenizer_can_make(tokenizer: Path) -> None:
    feeds = text_feeds(tokenizer, exported(vocabulary=500, context_length=128), 32, 128, 0)
    lengths = np.sort(np.concatenate([feed["attention_mask"].sum(axis=1) for feed in feeds]))
    assert lengths[0] == 2, "[CLS] [SEP]"
    assert 3 in lengths
    assert lengths[-1] > 100
    assert 10 < np.median(lengths) < 25


def test_pairs_are_never_longer_than_they_may_be(tokenizer: Path) -> None:
    pairs = exported(
        vocabulary=500, inputs=(*exported().inputs, Tensor("token_type_ids", "int64", ("batch", "sequence")))
    )
    lengths = np.concatenate([feed["attention_mask"].sum(axis=1) for feed in text_feeds(tokenizer, pairs, 32, 128, 0)])
    assert lengths.max() <= 128
    assert lengths[1::2].min() <= 8


@pytest.mark.parametrize(("vocabulary", "fewest"), [(500, 500), (100_000, 1500)])
def test_rare_tokens_are_all_or_many_of_a_vocabulary(vocabulary: int, fewest: int) -> None:
    feeds = rare_feeds(exported(vocabulary=vocabulary, context_length=128), 0)
    seen = np.concatenate([feed["input_ids"].reshape(-1) for feed in feeds])
    assert len(set(seen.tolist())) >= fewest
    assert seen.max() < vocabulary
    assert {feed["input_ids"].shape for feed in feeds} == {(4, 64), (4, 4)}
    assert all(feed["attention_mask"].all() for feed in feeds)
    again = rare_feeds(exported(vocabulary=vocabulary, context_length=128), 0)
    np.testing.assert_array_equal(feeds[3]["input_ids"], again[3]["input_ids"])


def test_a_seed_decides_the_passages(tokenizer: Path) -> None:
    first, again, other = (text_feeds(tokenizer, exported(vocabulary=500), 4, 24, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0]["input_ids"], again[0]["input_ids"])
    assert not np.array_equal(first[0]["input_ids"], other[0]["input_ids"])


def test_passages_fit_the_model(tokenizer: Path) -> None:
    (feed,) = text_feeds(tokenizer, exported(vocabulary=500, context_length=8), 4, 24, 0)
    assert feed["input_ids"].shape[1] <= 8


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Path) -> None:
    with pytest.raises(CheckpointError, match="tokens below 11"):
        text_feeds(tokenizer, exported(), 4, 24, 0)


def test_an_unreadable_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a readable tokenizer"):
        text_feeds(tmp_path / "tokenizer.json", exported(), 4, 24, 0)


ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
TYPED = ("attention_mask", "token_type_ids")
TYPES = tuple(
    Tensor(name=name, dtype="int64", shape=("batch", "sequence"))
    for name in ("input_ids", "attention_mask", "token_type_ids")
)


def test_every_other_passage_is_a_pair_where_a_model_tells_its_texts_apart(tokenizer: Path) -> None:
    (feed,) = text_feeds(tokenizer, exported(vocabulary=500, inputs=TYPES), 4, 24, 0)
    assert feed["token_type_ids"].any(axis=1).tolist() == [False, True, False, True]
    assert not feed["token_type_ids"][feed["attention_mask"] == 0].any()
    (plain,) = text_feeds(tokenizer, exported(vocabulary=500), 4, 24, 0)
    assert not plain["token_type_ids"].any()


def test_pairs_of_a_tokenizer_of_bytes_cost_no_more_than_they_are_long(tmp_path: Path) -> None:
    """tokenizers keeps what it cuts off a pair in pieces by the square of its length: 18 s and gigabytes for these."""
    made = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(ALPHABET)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.TemplateProcessing(
        single="! $A !", pair="! $A ! $B:1 !:1", special_tokens=[("!", ALPHABET.index("!"))]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    started = time.process_time()
    feeds = text_feeds(tmp_path / "tokenizer.json", exported(vocabulary=256, inputs=TYPES), 32, 128, 0)
    assert time.process_time() - started < 3
    rows = [(mask.sum(), types.sum()) for feed in feeds for mask, types in zip(*map(feed.get, TYPED), strict=True)]
    for length, second in rows[1::2]:  # half of a pair is of the second text, with the mark after it
        assert second == (length - 3) // 2 + 1


def test_a_batch_of_passages_is_one_questions_choices(tokenizer: Path) -> None:
    first, last = text_feeds(tokenizer, exported(vocabulary=500, task="multiple-choice", inputs=TYPES), 6, 24, 0)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert first[name].shape[:2] == (1, 4)
        assert last[name].shape[:2] == (1, 2)
