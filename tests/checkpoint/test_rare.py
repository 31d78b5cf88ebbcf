"""Checkpoints of rare kinds: float64 that the modeling code breaks, no start token, keys that go stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput

from compiler.checkpoint.failing import modeling
from compiler.checkpoint.length import LONGEST, kept_length
from compiler.checkpoint.reference import Reference
from compiler.errors import CheckpointError, ExportError
from compiler.export.carried import require_start
from tests import families
from tests.families import Family

XLM = {"vocab_size": 300, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128, "n_langs": 1}
IDS = np.arange(12)[None] + 20


@pytest.mark.parametrize("kind", ["flaubert", "xlm"])
def test_float32_answers_stay_the_same_after_float64(kind: str, tmp_path: Path) -> None:
    folder = families.checkpoint(Family(kind, kind, "feature-extraction", XLM), tmp_path)
    feeds = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}
    found = []
    for dtype in ("float32", "float64", "float32"):
        reference = Reference(folder, "feature-extraction", dtype)  # type: ignore[arg-type]
        found.append(reference.run(feeds)["last_hidden_state"])
        reference.close()
    assert found[1].dtype == np.float64
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_padding_among_the_answers_is_read_as_generate_reads_it(tmp_path: Path) -> None:
    """T5Gemma's forward without a cache would leave such tokens out; its generate does not."""
    side = {**families.family("gemma2", families.GENERATE).config, "sliding_window": 16}
    config = {
        "encoder": side,
        "decoder": {**side, "cross_attention_hidden_size": 32},
        "vocab_size": families.VOCABULARY,
        "pad_token_id": families.PAD,
        "bos_token_id": families.BEGIN,
    }
    folder = families.checkpoint(Family("t5gemma", "t5gemma", families.REWRITE, config), tmp_path)
    reference = Reference(folder, families.REWRITE)
    assert reference.start_token == families.BEGIN
    feeds = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}
    answer = np.array([[families.BEGIN, 9, families.PAD, 7, families.PAD, 8]])
    states = BaseModelOutput(last_hidden_state=torch.from_numpy(reference.encode(feeds)["encoder_hidden_states"]))
    model, cache, steps = reference._model, None, []
    for token in torch.from_numpy(answer).T[..., None]:
        step = model(encoder_outputs=states, decoder_input_ids=token, past_key_values=cache, use_cache=True)
        steps.append(step.logits[0].detach().numpy())
        cache = step.past_key_values
    expected = np.concatenate(steps)
    np.testing.assert_allclose(reference.answers(feeds, answer)[0], expected, atol=1e-4)
    constants = {**reference.encode(feeds), "encoder_attention_mask": feeds["attention_mask"]}
    decoding = reference.decode(None, 1, answer.size, constants)
    for at, token in enumerate(answer.T[..., None]):
        rows = 1 if at < 3 else 2
        if at == 3:
            decoding.select(np.array([0, 0]))
        found = decoding.step(np.repeat(token, rows, axis=0), np.full(rows, at + 1))
        np.testing.assert_allclose(found, np.repeat(expected[at : at + 1], rows, axis=0), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "own"),
    [
        ({"decoder_start_token_id": 0}, None),
        ({"decoder_start_token_id": [0]}, None),
        ({}, 0),
        ({"bos_token_id": 0}, None),
    ],
)
def test_a_start_token_has_three_places(settings: dict[str, Any], own: int | None) -> None:
    require_start(settings, transformers.T5Config(decoder_start_token_id=own), "it")


def test_a_checkpoint_without_a_start_token_is_refused() -> None:
    with pytest.raises(CheckpointError, match="which token an answer begins with"):
        require_start({"eos_token_id": 2}, transformers.T5Config(decoder_start_token_id=None), "it")


@pytest.mark.parametrize("tokens", [[0, 1], []])
def test_a_start_token_for_each_row_of_a_batch_is_refused(tokens: list[int]) -> None:
    config = transformers.T5Config(decoder_start_token_id=0)
    with pytest.raises(CheckpointError, match="several tokens that an answer begins with"):
        require_start({"decoder_start_token_id": tokens}, config, "it")


def test_kept_keys_hold_up_to_the_switch_of_longrope() -> None:
    shape = families.family("phi3", families.GENERATE).config
    rope = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    assert kept_length(transformers.Phi3Config(**shape)) == LONGEST
    config = transformers.Phi3Config(**shape, rope_scaling=rope, original_max_position_embeddings=64)
    assert kept_length(config) == 64


def test_what_modeling_code_raises_is_ours_and_keeps_its_cause() -> None:
    with (
        pytest.raises(ExportError, match=r"no such model(.|\n)*RuntimeError: mat1") as caught,
        modeling(ExportError, "no such model", "report it"),
    ):
        torch.nn.Linear(3, 3)(torch.ones(2, 4, 5, dtype=torch.double)[0, 0])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_errors_of_ours_stay() -> None:
    with pytest.raises(CheckpointError, match="mine"), modeling(ExportError, "no such model", "report it"):
        raise CheckpointError("mine")
