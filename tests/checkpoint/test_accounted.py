"""Entries of config.json that transformers passes over for a type of model are refused where they change answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint import resolve
from compiler.checkpoint.accounted import require_taken
from compiler.errors import CheckpointError

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
]
SAME: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"position_embedding_type": "absolute", "rope_scaling": None, "gradient_checkpointing": False}),
    ("gptj", {"rope_scaling": {"rope_type": "default"}, "rope_theta": 10000.0}),
    ("llama", {"sliding_window": None, "logit_scale": 1.0, "alibi": False}),
    ("llama", {"sliding_window": 4096, "max_position_embeddings": 4096}),
    ("llama", {"sliding_window": 32, "use_sliding_window": False}),
    ("llama", {"norm_eps": 1e-5, "rms_norm_eps": 1e-5}),
    ("bert", {"layer_norm_epsilon": 1e-12}),
    ("llama", {"layer_types": ["full_attention", "full_attention"]}),
    ("bart", {"normalize_before": False, "add_final_layer_norm": False, "normalize_embedding": True}),
]


@pytest.mark.parametrize(("kind", "entries"), LEFT_OUT)
def test_an_entry_that_would_be_left_out_is_refused_by_name(kind: str, entries: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="would be left out") as caught:
        require_taken({"model_type": kind, **entries}, "m")
    assert next(iter(entries)) in str(caught.value)


@pytest.mark.parametrize(("kind", "entries"), [*TAKEN, *SAME])
def test_what_the_class_takes_and_what_changes_nothing_passes(kind: str, entries: dict[str, Any]) -> None:
    require_taken({"model_type": kind, **entries}, "m")


@pytest.mark.parametrize("entry", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("name", ["type", "rope_type"])
def test_frequencies_that_follow_the_text_are_refused(entry: str, name: str) -> None:
    with pytest.raises(CheckpointError, match='rope scaling "dynamic"'):
        require_taken({"model_type": "llama", entry: {name: "dynamic", "factor": 4.0}}, "m")


def test_a_checkpoint_is_refused_before_it_is_loaded(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "position_embedding_type": "relative_key"}))
    with pytest.raises(CheckpointError, match="position_embedding_type"):
        resolve(str(folder), cache=tmp_path / "cache")
