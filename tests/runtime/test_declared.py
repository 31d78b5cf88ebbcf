"""Settings of generation that an encoder-decoder's checkpoint declares, beside transformers' `generate`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models

from compiler import pipeline
from compiler.errors import CheckpointError
from compiler.runtime import Model, UnverifiedWarning, load

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
TEXTS = ["an old sailor told a long story", "rain", "why is the sky blue today?"]
IN_CONFIG = {
    "num_beams": 3,
    "forced_bos_token_id": 0,
    "no_repeat_ngram_size": 3,
    "min_length": 10,
    "max_length": 24,
    "early_stopping": True,
    "length_penalty": 2.0,
    "bad_words_ids": [[7], [9, 11]],
}


class Both(NamedTuple):
    folder: Path
    ours: Model
    theirs: Any
    tokenizer: Any


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """A BART whose settings lie in config.json alone, with a token for each byte."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("declared") / "checkpoint"
    names = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(tokenizer_models.BPE({name: index for index, name in enumerate(names)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    sizes = {f"{half}_{size}": count for half in ("encoder", "decoder") for size, count in SIZES.items()}
    config = transformers.BartConfig(
        **sizes,
        d_model=32,
        vocab_size=len(names),
        max_position_embeddings=96,
        init_std=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    transformers.BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | IN_CONFIG))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(folder.with_name("cache")))
        options = {"profile": "cpu-x86-avx2", "precision": "float32", "bench": False}
        out = pipeline.build(str(folder), out=folder.with_name("bundle"), **options)
    with load(out) as model:
        yield Both(folder, model, transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), tokenizer)


SIZES = {"layers": 1, "attention_heads": 2, "ffn_dim": 32}


def test_settings_in_config_json_count(both: Both) -> None:
    carried = json.loads((both.ours.folder / "generation_config.json").read_text())
    assert carried.items() >= IN_CONFIG.items()
    for text in TEXTS:
        expected = both.theirs.generate(**both.tokenizer(text, return_tensors="pt", return_token_type_ids=False))
        assert list(both.ours.generate(text, details=True).tokens) == expected[0, 1:].tolist()


DECLARED: list[dict[str, Any]] = [
    {"encoder_no_repeat_ngram_size": 1},
    {"encoder_no_repeat_ngram_size": 2, "encoder_repetition_penalty": 3.0},
    {"encoder_repetition_penalty": 0.5, "repetition_penalty": 1.3},
    {"sequence_bias": [[[token], 1.0 + token % 3] for token in range(60, 90)] + [[[70, 71], -5.0]]},
    {"exponential_decay_length_penalty": [3, 1.5]},
    {"exponential_decay_length_penalty": [3, 1.5], "renormalize_logits": True},
    {"remove_invalid_values": True, "suppress_tokens": [*range(4, 100)]},
    {"forced_bos_token_id": 9, "begin_suppress_tokens": [*range(10, 200)], "forced_eos_token_id": [2, 5]},
    {"stop_strings": ["e", "a", "o", "i"]},
    {"stop_strings": [chr(code) for code in range(33, 80)]},
    {"max_length": 9},
    {"max_length": 9, "max_new_tokens": 14},
    {"min_length": 3, "min_new_tokens": 12},
]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_settings_in_generation_config_json_count(
    both: Both, tmp_path: Path, declared: dict[str, Any], beams: int
) -> None:
    from transformers import GenerationConfig

    base = {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 2, "num_beams": beams}
    whole = {"max_length": 20} | base | declared
    folder = copytree(both.ours.folder, tmp_path / "bundle")
    (folder / "generation_config.json").write_text(json.dumps(whole))
    with pytest.warns(UnverifiedWarning):
        changed = load(folder, verify=False)
    with changed as model:
        for text in TEXTS:
            batch = both.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            both.theirs.generation_config = GenerationConfig()
            expected = both.theirs.generate(
                **batch, generation_config=GenerationConfig(**whole), tokenizer=both.tokenizer
            )
            assert list(model.generate(text, details=True).tokens) == expected[0, 1:].tolist()


def test_a_setting_that_is_not_supported_is_refused_before_export(both: Both, tmp_path: Path) -> None:
    folder = copytree(both.folder, tmp_path / "checkpoint")
    (folder / "generation_config.json").write_text('{"guidance_scale": 1.5, "decoder_start_token_id": 2}')
    with pytest.raises(CheckpointError, match="guidance_scale"):
        pipeline.build(str(folder), out=tmp_path / "bundle", profile="cpu-x86-avx2", bench=False)
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        pipeline.build(str(folder), out=tmp_path / "bundle", profile="cpu-x86-avx2", bench=False)
