from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from compiler import bundle
from compiler.errors import InputError, UsageError
from compiler.records import Pooling
from compiler.runtime import Model, load
from compiler.runtime.embedding import pool
from tests import models

TEXTS = ["ban", "del fir gos kan lel", "", "mir nos pan", "ban del " * 20, "ran"]


def test_pooling_ignores_padding() -> None:
    states = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = np.array([[True, True, False], [True, True, True]])
    np.testing.assert_allclose(pool(states, mask, "mean"), [[1, 2], [8, 9]])
    np.testing.assert_array_equal(pool(states, mask, "cls"), [[0, 1], [6, 7]])
    np.testing.assert_array_equal(pool(states, mask, "last"), [[2, 3], [10, 11]])
    assert not pool(states, np.zeros_like(mask), "mean").any()


@pytest.mark.parametrize("mode", ["mean", "cls", "last"])
def test_embed_equals_one_text_at_a_time_by_hand(tmp_path: Path, mode: Literal["mean", "cls", "last"]) -> None:
    with load(models.encoder_bundle(tmp_path / "bundle", pooling=Pooling(mode=mode, normalize=True))) as model:
        together = model.embed(TEXTS, normalize=False)
        for text, vector in zip(TEXTS, together, strict=True):
            words = [len(models.SPECIAL) + models.WORDS.index(word) for word in text.split()]
            tokens = np.array([[1, *words, 2]], np.int64)
            feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": tokens * 0}
            states = model.run(feeds)["last_hidden_state"][0]
            expected = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[mode]
            np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_normalize_defaults_to_what_the_checkpoint_declares(encoder: Model) -> None:
    declared, raw = encoder.embed(TEXTS), encoder.embed(TEXTS, normalize=False)
    assert declared.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(declared, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(declared, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(encoder.embed(TEXTS, normalize=True), declared)


def test_a_long_text_is_cut_at_the_context_with_its_special_tokens(encoder: Model) -> None:
    long = " ".join(["ban"] * 500)
    fits = " ".join(["ban"] * (models.CONTEXT - 2))
    np.testing.assert_allclose(encoder.embed([long]), encoder.embed([fits]), atol=1e-6)


def test_a_checkpoint_may_cut_earlier_and_declare_nothing_else(tmp_path: Path) -> None:
    short = Pooling(mode="mean", normalize=False, max_length=5)
    with load(models.encoder_bundle(tmp_path / "short", pooling=short)) as model:
        np.testing.assert_array_equal(model.embed(["ban del fir gos kan"]), model.embed(["ban del fir"]))
    with load(models.encoder_bundle(tmp_path / "none", pooling=None)) as plain:
        assert not np.allclose(np.linalg.norm(plain.embed(["ban del fir"]), axis=1), 1)


def test_a_text_without_tokens_is_zeros(tmp_path: Path) -> None:
    folder = models.encoder_bundle(tmp_path / "bundle")
    models.write_tokenizer(folder)  # adds no special tokens
    bundle.seal(folder, bundle.read(folder))
    with load(folder) as model:
        vectors = model.embed(["", "ban", " "])
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).tolist() == [False, True, False]


def test_zero_texts(encoder: Model) -> None:
    assert encoder.embed([]).shape == (0, models.HIDDEN)
    assert encoder.embed([]).dtype == np.float32


@pytest.mark.parametrize("texts", ["one text", ["a", None], [["a"]]])
def test_anything_but_a_list_of_texts_is_an_error(encoder: Model, texts: object) -> None:
    with pytest.raises(InputError, match="list of texts"):
        encoder.embed(texts)  # type: ignore[arg-type]


def test_a_decoder_does_not_embed(decoder: Model) -> None:
    with pytest.raises(UsageError, match="text-generation"):
        decoder.embed(["ban"])
