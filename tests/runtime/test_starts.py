"""Answers of an encoder-decoder beside transformers' `generate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from compiler import pipeline
from compiler.errors import ContextError, InputError, UsageError
from compiler.runtime import Model, load
from tests import models

TEXTS = ["ban del fir", "gos", "kan lel mir nos pan rel"]
DECLARED = {
    "num_beams": 4,
    "max_length": 24,
    "no_repeat_ngram_size": 3,
    "bad_words_ids": [[0]],
    "forced_eos_token_id": 2,
    "renormalize_logits": True,
}
END = 2


class Both(NamedTuple):
    ours: Model
    theirs: Any
    tokenizer: Any

    def expected(self, **settings: Any) -> tuple[list[tuple[int, ...]], Any]:
        """The tokens of each answer up to its end, and transformers' own output."""
        batch = self.tokenizer(TEXTS, return_tensors="pt", padding=True, return_token_type_ids=False)
        output = self.theirs.generate(**batch, **settings, return_dict_in_generate=True, output_scores=True)
        answers = output.sequences[:, 1:].tolist()  # without the start token
        return [tuple(row[: row.index(END) + 1] if END in row else row) for row in answers], output


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """A Marian that declares its settings."""
    import torch
    import transformers

    folder: Path = tmp_path_factory.mktemp("marian") / "checkpoint"
    torch.manual_seed(1)
    config = transformers.MarianConfig(
        vocab_size=models.VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=models.CONTEXT,
        init_std=0.3,  # far from uniform answers
        scale_embedding=True,
        decoder_start_token_id=0,
        eos_token_id=END,
        pad_token_id=0,
    )
    made = transformers.MarianMTModel(config)
    made.generation_config.update(**DECLARED)
    made.save_pretrained(folder)
    models.write_tokenizer(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>", eos_token="<eos>"
    )
    tokenizer.save_pretrained(folder)
    out = folder.with_name("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(folder.with_name("cache")))
        pipeline.build(
            str(folder), task="text2text-generation", out=out, profile="cpu-x86-avx2", precision="float32", bench=False
        )
    with load(out) as model:
        yield Both(model, transformers.AutoModelForSeq2SeqLM.from_pretrained(folder), tokenizer)


@pytest.mark.parametrize(
    "settings",
    [{}, {"beams": 3, "length_penalty": 2.0, "early_stopping": True}, {"beams": 2, "max_new_tokens": 7}],
    ids=str,
)
def test_searches_go_by_the_checkpoints_settings(both: Both, settings: dict[str, Any]) -> None:
    expected, output = both.expected(**{"num_beams" if key == "beams" else key: settings[key] for key in settings})
    found = both.ours.generate(TEXTS, details=True, **settings)
    assert [each.tokens for each in found] == expected
    assert len(set(expected)) == 3
    np.testing.assert_allclose([each.score for each in found], output.sequences_scores, rtol=1e-5)
    assert [both.ours.generate(text, **settings) for text in TEXTS] == [each.text for each in found]


def test_greedy_and_streamed(both: Both) -> None:
    expected, _ = both.expected(num_beams=1)
    found = both.ours.generate(TEXTS, beams=1, details=True)
    assert [each.tokens for each in found] == expected
    for text, each in zip(TEXTS, found, strict=True):
        assert "".join(both.ours.generate(text, beams=1, stream=True)) == each.text


def test_a_text_that_the_encoder_cannot_take(both: Both) -> None:
    with pytest.raises(ContextError, match=rf"65 tokens\n.*at most {models.CONTEXT}"):
        both.ours.generate(["gos", "ban " * 65])
    with pytest.raises(InputError, match="empty"):
        both.ours.generate("")
    with pytest.raises(InputError, match="chat messages"):
        both.ours.generate([{"role": "user", "content": "ban"}])
    with pytest.raises(UsageError, match="no conversation"):
        both.ours.conversation()
