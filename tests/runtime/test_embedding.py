from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from compiler import bundle
from compiler.errors import InputError, IntegrityError, UsageError
from compiler.pooling import FILE
from compiler.records import Dense, Pooling
from compiler.runtime import Model, load
from tests import models

TEXTS = ["ban", "del fir gos kan lel", "", "mir nos pan", "ban del " * 20, "ran"]


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken"])
def test_embed_equals_one_text_at_a_time_by_hand(tmp_path: Path, mode: Literal["mean", "cls", "lasttoken"]) -> None:
    with load(models.encoder_bundle(tmp_path / "bundle", pooling=Pooling(modes=(mode,)))) as model:
        together = model.embed(TEXTS, normalize=False)
        for text, vector in zip(TEXTS, together, strict=True):
            words = [len(models.SPECIAL) + models.WORDS.index(word) for word in text.split()]
            tokens = np.array([[1, *words, 2]], np.int64)
            feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": tokens * 0}
            states = model.run(feeds)["last_hidden_state"][0]
            expected = {"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1]}[mode]
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
    short = Pooling(max_length=5)
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


def test_a_single_text_gives_a_single_vector(encoder: Model) -> None:
    alone = encoder.embed("ban del")
    assert alone.shape == (models.HIDDEN,)
    np.testing.assert_array_equal(alone, encoder.embed(["ban del"])[0])


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """With prompts, "q" by default."""
    pooling = Pooling(prompts={"q": "ban ", "d": "fir gos ", "none": ""}, default_prompt="q")
    with load(models.encoder_bundle(tmp_path_factory.mktemp("prompted") / "bundle", pooling=pooling)) as model:
        yield model


def test_the_default_prompt_stands_in_front_of_every_text(prompted: Model) -> None:
    raw = prompted.embed(["ban del", "ban mir nos"], prompt="")
    np.testing.assert_array_equal(prompted.embed(["del", "mir nos"]), raw)
    np.testing.assert_array_equal(prompted.embed("del"), raw[0])
    np.testing.assert_array_equal(prompted.embed(["ban del"], prompt_name="none")[0], raw[0])


def test_a_prompt_is_chosen_by_name_or_given(prompted: Model) -> None:
    expected = prompted.embed(["fir gos del"], prompt="")
    np.testing.assert_array_equal(prompted.embed(["del"], prompt_name="d"), expected)
    np.testing.assert_array_equal(prompted.embed(["del"], prompt="fir gos "), expected)
    assert not np.allclose(prompted.embed(["del"]), expected)


def test_a_prompt_that_does_not_exist_is_an_error(prompted: Model, encoder: Model) -> None:
    with pytest.raises(UsageError, match="'qu'") as caught:
        prompted.embed(["del"], prompt_name="qu")
    assert "q, d, none" in caught.value.expected
    with pytest.raises(UsageError, match="no prompt"):
        encoder.embed(["del"], prompt_name="q")
    with pytest.raises(InputError, match="exclude"):
        prompted.embed(["del"], prompt_name="q", prompt="ban ")
    with pytest.raises(InputError, match="prompt is a text"):
        prompted.embed(["del"], prompt=3)  # type: ignore[arg-type]


def test_a_prompt_may_be_left_out_of_the_pooling(tmp_path: Path) -> None:
    pooling = Pooling(include_prompt=False, prompts={"q": "fir gos "}, default_prompt="q")
    with load(models.encoder_bundle(tmp_path / "bundle", pooling=pooling)) as model:
        words = [len(models.SPECIAL) + models.WORDS.index(word) for word in ("fir", "gos", "del", "mir")]
        tokens = np.array([[1, *words, 2]], np.int64)
        feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": tokens * 0}
        states = model.run(feeds)["last_hidden_state"][0]
        np.testing.assert_allclose(model.embed("del mir"), states[3:].mean(axis=0), atol=1e-5)  # <bos>, fir, gos
        np.testing.assert_allclose(model.embed(["fir gos del mir"], prompt="")[0], states.mean(axis=0), atol=1e-5)


def test_modules_behind_the_pooling_change_the_width(tmp_path: Path) -> None:
    dense = Dense(inputs=models.HIDDEN, outputs=3, bias=False, activation="ReLU")
    folder = models.encoder_bundle(tmp_path / "bundle", pooling=Pooling(modules=(dense,)))
    matrix = np.random.default_rng(0).normal(size=(3, models.HIDDEN)).astype(np.float32)
    (folder / FILE).write_bytes(matrix.tobytes())
    manifest = bundle.seal(folder, bundle.read(folder))
    assert FILE in manifest.files
    with load(folder) as model, load(models.encoder_bundle(tmp_path / "plain", pooling=None)) as plain:
        assert model.embed([]).shape == (0, 3)
        np.testing.assert_allclose(model.embed(TEXTS), np.maximum(plain.embed(TEXTS) @ matrix.T, 0), atol=1e-5)
    (folder / FILE).write_bytes((matrix + 1).tobytes())
    with pytest.raises(IntegrityError, match="not what was built"):
        load(folder)


@pytest.mark.parametrize("texts", [3, ["a", None], [["a"]]])
def test_anything_but_texts_is_an_error(encoder: Model, texts: object) -> None:
    with pytest.raises(InputError, match="list of texts"):
        encoder.embed(texts)  # type: ignore[arg-type]


def test_a_decoder_does_not_embed(decoder: Model) -> None:
    with pytest.raises(UsageError, match="text-generation"):
        decoder.embed(["ban"])
