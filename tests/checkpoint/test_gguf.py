"""GGUF files: rotary scaling is kept, and a key that nobody understands is refused by its name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from compiler.checkpoint.gguf_keys import require_known
from compiler.checkpoint.gguf_original import set_frequencies
from compiler.checkpoint.gguf_rope import FREQUENCIES, scaled
from compiler.errors import CheckpointError

SIZES = {"hidden_size": 64, "num_attention_heads": 2, "max_position_embeddings": 256}
BASE: dict[str, Any] = {"general.architecture": "llama", "llama.context_length": 256, "llama.rope.freq_base": 10000.0}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
SCALING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}),
    "linear": ({"type": "linear", "factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
    "factor alone": ({"factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
    "yarn": (
        {"type": "yarn", "factor": 4.0, "original_context_length": 64},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    ),
}


def rotary(rope: dict[str, Any]) -> Any:
    return LlamaRotaryEmbedding(LlamaConfig(**SIZES, rope_parameters=dict(rope)))


@pytest.mark.parametrize("kind", SCALING)
def test_product_and_reference_turn_as_the_file_says(kind: str) -> None:
    settings, right = SCALING[kind]
    metadata = {**BASE, **{f"llama.rope.scaling.{name}": value for name, value in settings.items()}}
    expected = rotary({**PLAIN, **right})
    made = rotary(scaled(Path("m.gguf"), metadata, {}, PLAIN))
    torch.testing.assert_close(made.inv_freq, expected.inv_freq)
    assert made.attention_scaling == pytest.approx(expected.attention_scaling)
    reference = rotary(PLAIN)
    set_frequencies(reference, metadata, None)
    torch.testing.assert_close(reference.inv_freq, expected.inv_freq)
    assert reference.attention_scaling == pytest.approx(expected.attention_scaling)


def test_divisors_of_the_frequencies_are_those_of_llama3() -> None:
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    expected = rotary({**PLAIN, **llama3, "original_max_position_embeddings": 64})
    divisors = (rotary(PLAIN).inv_freq / expected.inv_freq).numpy()
    made = rotary(scaled(Path("m.gguf"), BASE, {FREQUENCIES: divisors}, PLAIN))
    torch.testing.assert_close(made.inv_freq, expected.inv_freq, rtol=1e-5, atol=0)
    reference = rotary(PLAIN)
    set_frequencies(reference, BASE, divisors)
    torch.testing.assert_close(reference.inv_freq, expected.inv_freq, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["longrope", "dynamic", "su"])
def test_other_scaling_is_refused_by_name(kind: str) -> None:
    with pytest.raises(CheckpointError, match="rope scaling") as caught:
        scaled(Path("m.gguf"), {**BASE, "llama.rope.scaling.type": kind}, {}, PLAIN)
    assert caught.value.found == kind


def test_divisors_of_another_kind_are_refused() -> None:
    with pytest.raises(CheckpointError, match="rope scaling"):
        scaled(Path("m.gguf"), BASE, {FREQUENCIES: np.linspace(1, 9, 16, dtype=np.float32)}, PLAIN)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.attention.sliding_window", 32),
        ("llama.attention.scale", 0.5),
        ("llama.expert_count", 8),
        ("llama.logit_scale", 0.25),
        ("llama.attention.value_length", 16),
        ("llama.attention.causal", False),
        ("tokenizer.ggml.remove_extra_whitespaces", True),
        ("llama.something.new", 1),
        ("qwen2.rope.scaling.factor", 4.0),
        ("adapter.type", "lora"),
        ("something", 1),
    ],
)
def test_a_key_that_would_be_left_out_is_refused_by_name(key: str, value: object) -> None:
    config = LlamaConfig(**SIZES)
    with pytest.raises(CheckpointError) as caught:
        require_known(Path("m.gguf"), {**BASE, key: value}, config)
    assert key in str(caught.value)


def test_keys_that_say_what_the_model_does_are_fine() -> None:
    said = {"attention.key_length": 32, "attention.causal": True, "expert_count": 0, "logit_scale": 1.0}
    require_known(
        Path("m.gguf"),
        {
            **BASE,
            **{f"llama.{name}": value for name, value in said.items()},
            "general.license": "mit",
            "somebody.quantized_by": "x",
        },
        LlamaConfig(**SIZES),
    )


@pytest.mark.parametrize("extra", [{"split.count": 2}, {"general.type": "adapter"}])
def test_parts_and_adapters_are_no_models(extra: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="not a whole model"):
        require_known(Path("m.gguf"), {**BASE, **extra}, SimpleNamespace())
