"""Every key of a GGUF file is accounted for: used, equal to what the model does, harmless, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compiler.errors import CheckpointError

NOTES = "unread.json"  # a file of a folder that was converted from a GGUF file: names of the keys that were left out

Metadata = Mapping[str, Any]

# Who made it, how, and under which licence; how it was quantized; how tokens are to be drawn, where nobody says so.
HARMLESS = ("GGUF.", "general.", "quantize.", "imatrix.", "tokenizer.chat_template.", "tokenizer.chat_templates")
SECTIONS = ("tokenizer", "adapter", "clip", "xlora", "control_vector")  # that llama.cpp reads, beside a model's own
HARMLESS_OF_MODELS = frozenset({"tensor_data_layout", "rope.scaling.finetuned"})
TOKENIZER = frozenset({
    "model", "pre", "tokens", "token_type", "token_type_count", "scores", "merges", "precompiled_charsmap",
    "bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id", "padding_token_id",
    "seperator_token_id", "mask_token_id", "cls_token_id", "fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id",
    "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id", "prefix_token_id", "suffix_token_id",
    "middle_token_id", "add_bos_token", "add_eos_token", "add_space_prefix",
})  # fmt: skip
APPLIED = frozenset({  # by `gguf_rope`
    "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear", "rope.scaling.original_context_length",
    "rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor", "rope.scaling.yarn_log_multiplier",
})  # fmt: skip


def _setting(*names: str, default: Any = None) -> Callable[[Any], Any]:
    def found(config: Any) -> Any:
        return next((value for name in names if (value := getattr(config, name, None)) is not None), default)

    return found


def _head(config: Any) -> Any:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _rotary(config: Any) -> Any:
    rope = config.rope_parameters
    share = rope.get("partial_rotary_factor", 1.0) if isinstance(rope, dict) else 1.0
    return int(_head(config) * share)


# What the model does, for keys that transformers' conversion passes over: they may say the same, and nothing else.
DONE: dict[str, Callable[[Any], Any]] = {
    "attention.causal": lambda _: True,
    "attention.key_length": _head,
    "attention.value_length": _head,
    "attention.sliding_window": _setting("sliding_window", default=0),
    "attention.layer_norm_epsilon": _setting("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"),
    "attention.layer_norm_rms_epsilon": _setting("rms_norm_eps", "norm_eps", "layer_norm_epsilon"),
    "attention.clamp_kqv": lambda _: 0.0,
    "attn_logit_softcapping": _setting("attn_logit_softcapping", default=0.0),
    "final_logit_softcapping": _setting("final_logit_softcapping", default=0.0),
    "embedding_scale": lambda _: 1.0,
    "residual_scale": lambda _: 1.0,
    "logit_scale": lambda _: 1.0,
    "expert_count": _setting("num_experts", "num_local_experts", default=0),
    "expert_used_count": lambda config: getattr(config, "num_experts_per_tok", 0),
    "expert_feed_forward_length": _setting("moe_intermediate_size", "intermediate_size"),
    "expert_shared_feed_forward_length": _setting("shared_expert_intermediate_size", default=0),
    "feed_forward_length": lambda config: getattr(config, "n_inner", None) or 4 * config.hidden_size,
    "context_length": _setting("max_position_embeddings", "n_positions"),
    "vocab_size": _setting("vocab_size"),
    "pooling_type": lambda _: 0,
    "nextn_predict_layers": lambda _: 0,
    "rope.dimension_count": _rotary,
    "rope.freq_base_swa": lambda config: (config.rope_parameters.get("sliding_attention") or {}).get("rope_theta"),
    "rope.freq_base": lambda config: config.rope_parameters.get("rope_theta"),
    "use_parallel_residual": _setting("use_parallel_residual"),
}


def require_known(path: Path, metadata: Metadata, config: Any) -> list[str]:
    """Keys that nothing here reads and no answer depends on, as "FILE: KEY".

    Refuses a file with a key that says something else than the model does, or that nobody here understands.

    Args:
        metadata: the file's keys.
        config: transformers' configuration as it was converted from them.

    Raises:
        CheckpointError: it names the key.
    """
    if (kind := metadata.get("general.type", "model")) != "model" or metadata.get("split.count", 1) > 1:
        raise CheckpointError(
            f"{path}: not a whole model",
            found=f"general.type {kind}, {metadata.get('split.count', 1)} parts",
            expected="one file with a model",
            action="merge its parts with llama.cpp's gguf-split" if kind == "model" else "",
        )
    from gguf import MODEL_ARCH_NAMES

    architecture = metadata["general.architecture"]
    used = _converted(architecture)
    read = {architecture, *MODEL_ARCH_NAMES.values(), *SECTIONS}
    notes: list[str] = []
    for key, value in metadata.items():
        if key.startswith((*HARMLESS, "split.")) or key == "tokenizer.chat_template":
            continue
        section, _, name = key.partition(".")
        if name and section not in read:
            notes.append(f"{path.name}: {key}")  # of whoever made the file, under their own name
            continue
        if section == "tokenizer" and name.removeprefix("ggml.") in TOKENIZER:
            continue
        if section == architecture:
            if name in HARMLESS_OF_MODELS:
                notes.append(f"{path.name}: {key}")
                continue
            if name in used or name in APPLIED:
                continue
            if name in DONE and _same(value, DONE[name](config)):
                continue
        does = f"{DONE[name](config)} in the model that it becomes" if section == architecture and name in DONE else ""
        raise CheckpointError(
            f'{path}: "{key}" of this GGUF is not supported',
            found=str(value)[:80],
            expected=does or "keys that transformers or this compiler understand",
            action="use the original checkpoint folder instead",
        )
    unsaid = f"{architecture}.attention.sliding_window" not in metadata and "attention.sliding_window" not in used
    if getattr(config, "sliding_window", None) and unsaid:
        config.sliding_window = None  # a default of the class; a file with a window says so
    return notes


def _converted(architecture: str) -> set[str]:
    """Keys, without the architecture, that transformers turns into settings of the model."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    names = {"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gpt-oss": "gpt_oss", "minimax-m2": "minimax_m2"}
    mapping = GGUF_CONFIG_MAPPING.get(names.get(architecture, architecture), {})
    return {key for key, target in mapping.items() if target is not None}


def _same(stated: Any, done: Any) -> bool:
    if isinstance(stated, int | float) and isinstance(done, int | float):
        return math.isclose(stated, done, rel_tol=1e-6)
    return bool(stated == done)
