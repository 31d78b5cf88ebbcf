"""Entries of config.json that transformers passes over for a type of model, though they would change its answers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from compiler.errors import CheckpointError

Neutral = Callable[[Any, Mapping[str, Any]], bool]

EPSILONS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon", "layernorm_epsilon")
RECOMPUTED = frozenset({"dynamic"})  # rotary frequencies that follow the length of the text


def _one_of(*values: object) -> Neutral:
    return lambda value, _: value is None or value in values


def _no_scaling(value: Any, _: Mapping[str, Any]) -> bool:
    return not value or (isinstance(value, dict) and _kind(value) == "default")


def _no_window(value: Any, config: Mapping[str, Any]) -> bool:
    if not value or config.get("use_sliding_window") is False:
        return True
    longest = config.get("max_position_embeddings")
    return isinstance(value, int) and isinstance(longest, int) and value >= longest


def _no_other_layers(value: Any, _: Mapping[str, Any]) -> bool:
    return not value or (isinstance(value, list) and all(each == "full_attention" for each in value))


# Values with which an entry says what a model does that has no such entry.
NEUTRAL: dict[str, Neutral] = {
    "rope_scaling": _no_scaling,
    "rope_parameters": _no_scaling,
    "rope_theta": _one_of(10000),
    "partial_rotary_factor": _one_of(1),
    "position_embedding_type": _one_of("absolute"),
    "alibi": _one_of(False),
    "use_alibi": _one_of(False),
    "sliding_window": _no_window,
    "attention_window": _no_window,
    "attention_chunk_size": _no_window,
    "layer_types": _no_other_layers,
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "logits_soft_cap"), _one_of(0)),
    **dict.fromkeys(("clip_qkv", "clamp_kqv", "query_pre_attn_scalar"), _one_of()),
    **dict.fromkeys(("logit_scale", "logits_scaling", "scale_emb", "lm_head_multiplier", "key_multiplier"), _one_of(1)),
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier", "attention_multiplier"), _one_of(1)),
    **dict.fromkeys(("qk_norm", "use_qk_norm", "qk_layernorm", "scale_embedding"), _one_of(False)),
    **dict.fromkeys(("normalize_before", "add_final_layer_norm", "add_bias_logits"), _one_of(False)),
    "static_position_embeddings": _one_of(False),
    "normalize_embedding": _one_of(True),
}
ROTARY = frozenset({"rope_scaling", "rope_theta", "partial_rotary_factor"})  # transformers gathers them


def require_taken(config: Mapping[str, Any], model: str) -> None:
    """Refuse a configuration with an entry that changes answers and that the model's class has no use for.

    Args:
        config: config.json, of a model type that transformers knows.
        model: the checkpoint as its user named it.

    Raises:
        CheckpointError: it names the entry.
    """
    from transformers import CONFIG_MAPPING

    kind = CONFIG_MAPPING[config["model_type"]]
    own = {field.name: field.default for field in fields(kind)}
    taken = own.keys() | kind.attribute_map.keys() | (ROTARY if "rope_parameters" in own else set())
    for rope in (config.get("rope_parameters"), config.get("rope_scaling")):
        if isinstance(rope, dict) and _kind(rope) in RECOMPUTED:
            raise CheckpointError(
                f'{model}: rope scaling "{_kind(rope)}" is not supported',
                found="frequencies that follow the length of each text",
                expected="rope scaling that is the same for every text, such as linear, yarn or llama3",
                action="set rope_scaling to null in config.json if texts stay within the length it was trained with",
            )
    left = [key for key in config if key not in taken and (key in NEUTRAL or key in EPSILONS)]
    if not left:
        return
    models = Path(inspect.getfile(kind)).parent.glob("modeling_*.py")
    code = "".join(path.read_text(encoding="utf-8") for path in models)
    epsilons = [config.get(name, own[name]) for name in EPSILONS if name in own]
    for key in left:
        same = config[key] in epsilons if key in EPSILONS else NEUTRAL[key](config[key], config)
        if not same and not re.search(rf"\b{key}\b", code):
            raise CheckpointError(
                f'{model}: "{key}" of config.json would be left out',
                found=str(config[key])[:80],
                expected=f'entries that models of type "{config["model_type"]}" have in transformers',
                action=f"use the model type that it was trained as; remove {key} if it was never in effect",
            )


def _kind(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type", rope.get("type", "default")))
