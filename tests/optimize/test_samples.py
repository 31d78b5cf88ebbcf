from __future__ import annotations

import numpy as np
import pytest

from compiler.errors import ExportError
from compiler.optimize.samples import real_tokens, sample_feeds
from compiler.records import Tensor
from tests.optimize.graphs import exported

IDS = Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence"))
MASK = Tensor(name="attention_mask", dtype="int64", shape=("batch", "total_sequence"))
PAST = Tensor(name="past_key_values.0.key", dtype="float32", shape=("batch", 1, "past_sequence", 4))
POSITIONS = Tensor(name="logits_positions", dtype="int64", shape=("batch", "kept"))


def test_encoders_get_rows_of_unequal_length_padded_on_the_right() -> None:
    first, *_ = sample_feeds([IDS, MASK], exported(), seed=0)
    lengths = first["attention_mask"].sum(axis=1)
    assert len(set(lengths)) == len(lengths) > 1
    assert (np.diff(first["attention_mask"], axis=1) <= 0).all()
    assert first["input_ids"].shape == first["attention_mask"].shape
    assert first["input_ids"].max() < exported().vocabulary


def test_decoders_get_a_prompt_and_steps_over_a_cache() -> None:
    feeds = sample_feeds([IDS, MASK, PAST, POSITIONS], exported("decoder"), seed=0)
    pasts = [feed["past_key_values.0.key"].shape[2] for feed in feeds]
    assert pasts[0] == 0 < min(pasts[1:])
    for feed, past in zip(feeds, pasts, strict=True):
        batch, sequence = feed["input_ids"].shape
        assert feed["attention_mask"].shape == (batch, past + sequence)
        np.testing.assert_array_equal(feed["logits_positions"][:, 0] + past, feed["attention_mask"].sum(axis=1) - 1)


def test_shared_inputs_are_equal_whatever_else_a_graph_takes() -> None:
    few = sample_feeds([IDS, PAST], exported("decoder"), seed=3)
    many = sample_feeds([POSITIONS, MASK, PAST, IDS], exported("decoder"), seed=3)
    for left, right in zip(few, many, strict=True):
        np.testing.assert_array_equal(left["input_ids"], right["input_ids"])
        np.testing.assert_array_equal(left["past_key_values.0.key"], right["past_key_values.0.key"])


def test_a_past_of_fixed_size_holds_the_same_tokens_and_zeros_behind_them() -> None:
    fixed = Tensor(name=PAST.name, dtype="float16", shape=("batch", 1, 32, 4))
    growing, held = (sample_feeds([IDS, past], exported("decoder"), seed=3) for past in (PAST, fixed))
    for left, right in zip(growing, held, strict=True):
        before, after = left[PAST.name], right[PAST.name]
        assert after.shape == (len(before), 1, 32, 4)
        np.testing.assert_array_equal(after[:, :, : before.shape[2]], before.astype(np.float16))
        assert not after[:, :, before.shape[2] :].any()


def test_real_tokens_are_counted_by_the_dims_that_name_them() -> None:
    feeds = sample_feeds([IDS, MASK], exported("decoder"), seed=0)
    for feed, real in zip(feeds, real_tokens(exported("decoder")), strict=True):
        np.testing.assert_array_equal(real["total_sequence"], feed["attention_mask"].astype(bool))
        assert real["sequence"].shape == feed["input_ids"].shape
        assert (np.diff(real["sequence"].astype(int), axis=1) <= 0).all(), "padded on the right"


def test_an_input_without_known_meaning_is_an_error_that_names_it() -> None:
    pixels = Tensor(name="pixel_values", dtype="float32", shape=("batch", 3, 8, 8))
    with pytest.raises(ExportError, match="pixel_values"):
        sample_feeds([pixels], exported(), seed=0)


def test_choices_are_an_axis_of_ids_mask_and_types() -> None:
    shape = ("batch", "choices", "sequence")
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [Tensor(name=name, dtype="int64", shape=shape) for name in names]
    for feed in sample_feeds(inputs, exported(), seed=0):
        assert len({array.shape for array in feed.values()}) == 1
        batch, choices, sequence = feed["input_ids"].shape
        assert choices > 1
        assert (feed["attention_mask"] == feed["attention_mask"][:, :1]).all()
        assert set(np.unique(feed["token_type_ids"])) == {0, 1}
        assert len(np.unique(feed["input_ids"].reshape(batch * choices, sequence), axis=0)) == batch * choices
