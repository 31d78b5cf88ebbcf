"""Every setting of generation that transformers knows is followed, refused by name, or changes no answer."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.errors import CheckpointError, IntegrityError
from compiler.generation import FOLLOWED, IDLE, REFUSED, Bias, Decay, Settings, read, require_tokens


def test_each_field_of_transformers_has_one_place() -> None:
    from transformers import GenerationConfig

    fields = set(vars(GenerationConfig())) | set(GenerationConfig().to_dict())
    assert fields <= FOLLOWED | REFUSED.keys() | IDLE
    assert len(FOLLOWED) + len(REFUSED) + len(IDLE) == len(FOLLOWED | REFUSED.keys() | IDLE)
    strange = (FOLLOWED | REFUSED.keys() | IDLE) - fields
    assert strange == {"_commit_hash", "_original_object_hash"}  # which files have


def test_transformers_own_defaults_are_taken() -> None:
    from transformers import GenerationConfig

    defaults = GenerationConfig._get_default_generation_params()
    assert read(defaults, CheckpointError, "x").max_length == 20


def test_pairs_are_named() -> None:
    declared = {"sequence_bias": [[[1, 2], 3]], "exponential_decay_length_penalty": [4, 1.5], "eos_token_id": [1, 2]}
    assert read(declared, CheckpointError, "x") == Settings(
        sequence_bias=(Bias((1, 2), 3.0),), exponential_decay_length_penalty=Decay(4, 1.5), eos_token_id=(1, 2)
    )


CHANGING: dict[str, Any] = {
    "assistant_ensemble_weight": 0.5,
    "cache_implementation": "quantized",
    "constraints": [1],
    "diversity_penalty": 0.5,
    "dola_layers": "low",
    "force_words_ids": [[1]],
    "is_assistant": True,
    "num_beam_groups": 2,
    "penalty_alpha": 0.6,
    "token_healing": True,
    "watermarking_config": {"bias": 2.0},
}
HARMLESS = {"cache_implementation": "static", "diversity_penalty": 0.0, "num_beam_groups": 1}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_by_name(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"here: the setting {name} is not supported"):
        read({name: CHANGING[name]}, CheckpointError, "here")
    assert read({name: None}, CheckpointError, "here") == Settings()


@pytest.mark.parametrize("name", HARMLESS)
def test_a_value_that_changes_nothing_is_taken(name: str) -> None:
    assert read({name: HARMLESS[name]}, CheckpointError, "here") == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eos_token_id", [[1]]),
        ("bad_words_ids", [3]),
        ("suppress_tokens", "all"),
        ("max_length", "long"),
        ("num_beams", 0),
        ("num_beams", 10**6),
        ("length_penalty", float("nan")),
        ("length_penalty", 1e308),
        ("repetition_penalty", 0),
        ("temperature", 10**400),
        ("guidance_scale", float("inf")),
        ("do_sample", 1),
        ("early_stopping", "soon"),
        ("sequence_bias", {"1": 2.0}),
        ("sequence_bias", [[[], 2.0]]),
        ("sequence_bias", [[[-1], 2.0]]),
        ("exponential_decay_length_penalty", [5]),
        ("exponential_decay_length_penalty", 5),
        ("stop_strings", [1]),
        ("forced_bos_token_id", -1),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(IntegrityError, match=f"malformed\n.*{'Number out' if value == 10**400 else name}"):
        read({name: value}, IntegrityError, "here")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forced_bos_token_id", 9),
        ("forced_eos_token_id", [1, 9]),
        ("decoder_start_token_id", 9),
        ("bad_words_ids", [[1], [2, 9]]),
        ("sequence_bias", [[[9], 1.0]]),
    ],
)
def test_a_rule_about_a_token_that_is_not_there_is_named(name: str, value: Any) -> None:
    settings = read({name: value}, CheckpointError, "here")
    require_tokens(settings, 10, CheckpointError, "here")
    with pytest.raises(CheckpointError, match=rf"{name} names a token that the model has not\n.*9\n.*0 to 8"):
        require_tokens(settings, 9, CheckpointError, "here")


def test_tokens_that_are_never_chosen_may_be_beyond_the_vocabulary() -> None:
    settings = read({"eos_token_id": 50256, "suppress_tokens": [-1, 99], "pad_token_id": 99}, CheckpointError, "x")
    require_tokens(settings, 9, CheckpointError, "here")
