"""Entries of config.json that transformers passes over: refused where they change answers, or listed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from compiler.checkpoint import resolve
from compiler.checkpoint.accounted import unread
from compiler.checkpoint.sane import require_sane
from compiler.errors import CheckpointError
from tests import families
from tests.checkpoint.wild import WILD

LINEAR = {"rope_type": "linear", "factor": 4.0}
WINDOWED = {"layer_types": ["sliding_attention"]}

LEFT_OUT: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"rope_scaling": LINEAR}),
    ("bert", {"rope_parameters": LINEAR}),
    ("bert", {"position_embedding_type": "relative_key_query"}),
    ("roberta", {"position_embedding_type": "relative_key"}),
    ("gptj", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
    ("gptj", {"rope_theta": 500000}),
    ("llama", {"sliding_window": 32, "max_position_embeddings": 128}),
    ("llama", WINDOWED),
    ("llama", {"attn_logit_softcapping": 50.0}),
    ("llama", {"clip_qkv": 8.0}),
    ("llama", {"logit_scale": 0.0625}),
    ("llama", {"embedding_multiplier": 12.0}),
    ("llama", {"norm_eps": 1e-3}),
    ("bert", {"layer_norm_epsilon": 1e-5}),
    ("gpt2", {"alibi": True}),
    ("bart", {"normalize_before": True}),
    ("pegasus", {"normalize_before": False}),
    ("pegasus", {"add_final_layer_norm": False}),
    ("marian", {"normalize_embedding": True}),
    ("mbart", {"static_position_embeddings": True}),
    ("bart", {"force_bos_token_to_be_generated": True}),
    ("gptj", {"rotary": False}),
    ("bloom", {"alibi": False}),
    ("xlnet", {"untie_r": False}),
    ("cohere2", {"use_parallel_block": False}),
    ("llama", {"position_embedding_type": "alibi"}),
    ("llama", {"kv_channels": 96}),
    ("bert", {"num_key_value_heads": 2}),
    ("bert", {"hidden_activation": "relu"}),
    ("bert", {"is_causal": True}),
    ("bert", {"n_layer": 3}),
    ("bert", {"pruned_heads": {"0": [1]}}),
    ("mpt", {"logit_scale": 0.5}),  # the class has it, and its model does not look at it
    # what nobody here knows
    ("bert", {"glyph_embedding_dim": 1728}),
    ("llama", {"rope_interleaved": True}),
    ("llama", {"a_new_norm": "sandwich"}),
]
TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"rope_scaling": LINEAR, "rope_theta": 500000.0}),
    ("gpt_neox", {"rope_scaling": LINEAR, "rotary_pct": 0.5}),
    ("phi", {"partial_rotary_factor": 0.4}),
    ("mistral", {"sliding_window": 32}),
    ("gemma2", {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 256}),
    ("cohere", {"logit_scale": 0.0625}),
    ("granite", {"embedding_multiplier": 12.0, "logits_scaling": 8.0}),
    ("falcon", {"alibi": True}),
    ("llama", {"is_causal": False}),  # create_causal_mask asks for it
    ("bart", {"num_beams": 4, "max_length": 20}),
    ("gpt2", {"tie_word_embeddings": False, "prefix": " ", "tokenizer_class": "GPT2Tokenizer"}),
]
SAME: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"position_embedding_type": "absolute", "rope_scaling": None, "gradient_checkpointing": False}),
    ("gptj", {"rope_scaling": {"rope_type": "default"}, "rope_theta": 10000.0}),
    ("llama", {"sliding_window": None, "logit_scale": 1.0, "alibi": False}),
    ("llama", {"sliding_window": 4096}),
    ("llama", {"layer_types": ["full_attention", "full_attention"]}),
    ("llama", {"norm_eps": 1e-6}),
    ("bert", {"layer_norm_epsilon": 1e-12}),
    ("bert", {"n_layer": 12, "head_dim": 64, "num_key_value_heads": 12, "hidden_activation": "gelu"}),
    ("bart", {"normalize_before": False, "add_final_layer_norm": False, "normalize_embedding": True}),
    ("llama", {"pretraining_tp": 4}),  # the class has it, and no code looks at it
    ("mpt", {"norm_type": "low_precision_layernorm"}),
    ("bert", {"task_specific_params": {"a": {"b": 1}}, "auto_map": {"AutoModel": "mine.Bert"}, "_note": "x"}),
    ("bert", {"a_new_switch": False, "a_new_list": [], "a_new_name": "", "a_new_setting": None}),
    ("bert", {"my_dropout": 0.3, "aux_loss_weight": 0.1, "initializer_scale": 2, "extra_token_id": 4}),
]


@pytest.mark.parametrize(("kind", "entries"), LEFT_OUT)
def test_an_entry_that_would_be_left_out_is_refused_by_name(kind: str, entries: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="would be left out") as caught:
        unread({"model_type": kind, **entries}, "m")
    assert next(iter(entries)) in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(("kind", "entries"), TAKEN)
def test_what_is_read_passes_and_is_not_listed(kind: str, entries: dict[str, Any]) -> None:
    assert unread({"model_type": kind, **entries}, "m") == []


@pytest.mark.parametrize(("kind", "entries"), SAME)
def test_what_changes_nothing_is_listed(kind: str, entries: dict[str, Any]) -> None:
    assert unread({"model_type": kind, **entries}, "m") == list(entries)


def test_a_window_that_is_switched_off_is_none() -> None:
    assert "sliding_window" in unread({"model_type": "llama", "sliding_window": 32, "use_sliding_window": False}, "m")


@pytest.mark.parametrize("name", WILD)
def test_entries_of_well_known_checkpoints_are_no_reason_to_refuse_them(name: str) -> None:
    kind, entries = WILD[name]
    config = {"model_type": kind, **entries}
    require_sane(config, name)
    assert set(unread(config, name)) <= entries.keys()


def test_the_defaults_of_every_family_are_taken() -> None:
    for kind in sorted({row.model_type for row in families.FAMILIES}):
        config = json.loads(transformers.AutoConfig.for_model(kind).to_json_string(use_diff=False))
        require_sane(config, kind)
        assert not {"hidden_size", "vocab_size", "rope_parameters", "layer_types"} & set(unread(config, kind))


def test_the_configuration_of_the_text_inside_another_counts() -> None:
    inner: dict[str, Any] = {"model_type": "gemma3_text", "alibi": False}
    assert unread({"model_type": "gemma3", "text_config": inner}, "m") == ["text_config.alibi"]
    inner["alibi"] = True
    with pytest.raises(CheckpointError, match=r'"text_config.alibi" of config.json would be left out'):
        unread({"model_type": "gemma3", "text_config": inner}, "m")


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"rope_type": "ntk-by-parts", "factor": 2.0}, 'rope scaling "ntk-by-parts" is unknown'),
        ({"type": "linear", "factor": 2.0, "extrapolation": 1.5}, '"rope_scaling.extrapolation" of config.json'),
    ],
)
def test_rope_scaling_that_transformers_does_not_have(rope: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        unread({"model_type": "llama", "rope_scaling": rope}, "m")


@pytest.mark.parametrize(("kind", "name"), [("bert", "hidden_act"), ("gpt2", "activation_function")])
def test_an_unknown_activation_is_named(kind: str, name: str) -> None:
    with pytest.raises(CheckpointError, match=f'"{name}" of config.json cannot be gleu') as caught:
        unread({"model_type": kind, name: "gleu"}, "m")
    assert "gelu" in caught.value.expected


@pytest.mark.parametrize("entry", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("name", ["type", "rope_type"])
def test_frequencies_that_follow_the_text_are_refused(entry: str, name: str) -> None:
    with pytest.raises(CheckpointError, match='rope scaling "dynamic"'):
        unread({"model_type": "llama", entry: {name: "dynamic", "factor": 4.0}}, "m")


def test_a_checkpoint_is_refused_before_it_is_loaded(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "position_embedding_type": "relative_key"}))
    with pytest.raises(CheckpointError, match="position_embedding_type"):
        resolve(str(folder), cache=tmp_path / "cache")
