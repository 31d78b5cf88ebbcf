"""Entries of config.json that a model's class does not have: those that say what it does, and those that do nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# The entry's value, config.json with the class' defaults, the class' code.
Neutral = Callable[[Any, Mapping[str, Any], str], bool]

# Names by which families call one quantity; the class' own is the one that counts.
SYNONYMS = (
    frozenset({
        "layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon", "layernorm_epsilon",
    }),
    frozenset({"num_hidden_layers", "num_layers", "n_layer", "n_layers"}),
    frozenset({"num_attention_heads", "num_heads", "n_head", "n_heads"}),
    frozenset({"hidden_size", "d_model", "n_embd", "n_embed", "dim", "embedding_size"}),
    frozenset({"intermediate_size", "ffn_dim", "d_ff", "d_inner", "n_inner", "hidden_dim", "ffn_hidden_size"}),
    frozenset({
        "hidden_act", "activation_function", "activation", "hidden_activation", "ff_activation", "dense_act_fn",
    }),
)  # fmt: skip

# Read by transformers for every model, by its tokenizers and pipelines, or by this compiler's own readers.
READ = frozenset({
    "model_type", "architectures", "transformers_version", "torch_dtype", "dtype", "name_or_path", "_name_or_path",
    "tie_word_embeddings", "num_labels", "per_layer_config", "use_cache", "attn_implementation", "output_attentions",
    "experts_implementation", "tokenizer_class", "prefix", "quantization_config", "compression_config",
    "sentence_transformers", "sbert_ce_default_activation_function", "is_encoder_decoder",
})  # fmt: skip

# What no answer depends on: notes, training, how it is computed, lengths that are stated elsewhere, other frameworks.
HARMLESS = frozenset({
    "auto_map", "name", "model_name", "license", "language", "tags", "author", "description", "version", "base_model",
    "library_name", "finetuning_task", "task", "dataset", "seed", "use_return_dict", "torchscript", "output_past",
    "task_specific_params", "adapters", "is_llama_config", "unsloth_version", "unsloth_fixed", "custom_pipelines",
    "transformers.js_config", "model_max_length", "max_sequence_length", "max_seq_length", "max_seq_len", "seq_length",
    "seq_len", "n_ctx", "max_length", "max_window_layers", "original_max_position_embeddings", "extra_pos_embeddings",
    "max_position_embeddings", "n_positions", "multiple_of", "ffn_dim_multiplier", "pad_vocab_size_multiple",
    "attention_softmax_in_fp32", "softmax_in_fp32", "use_bfloat16", "bf16", "fp16", "fp32", "xla_device",
    "slow_but_exact", "gradient_checkpointing", "use_parallel_embedding", "cache_implementation",
    "reference_compile", "repad_logits_with_grad", "deterministic_flash_attn", "unpad_inputs", "tie_weights_",
    "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
    "pooler_hidden_size", "directionality", "down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks",
    "layers_to_keep", "scalable_attention", "classifiers_size", "tasks", "problem_type", "processor_class",
    "share_encoder_decoder_embeddings", "type_vocab_size", "vocab_size", "offset_alibi", "skip_bias_add", "finetuned",
})  # fmt: skip
HARMLESS_NAMES = re.compile(
    r"^_|drop|initializer|^init_|_init$|^init$|loss|label_smoothing|learning_rate|weight_decay|jitter|^summary_"
    r"|_token_ids?$|_token_index$|flash_att|flash_norm|use_sdpa|memory_efficient_attention|fused|_fusion$"
    r"|_tp$|_pp$|tensor_parallel|model_parallel|(^|_)bias$|_version$|^wandb|^mlm_probability$|^num_train|^train_"
)  # a bias is in the weights, or it is not


def _one_of(*values: object) -> Neutral:
    return lambda value, *_: value is None or value in values


def _no_scaling(value: Any, *_: Any) -> bool:
    return not value or (isinstance(value, dict) and kind(value) == "default")


def kind(rope: Mapping[str, Any]) -> str:
    """The kind of scaling of rotary positions."""
    return str(rope.get("rope_type", rope.get("type", "default")))


def _no_window(value: Any, config: Mapping[str, Any], _: str) -> bool:
    if not value or config.get("use_sliding_window") is False:
        return True
    longest = config.get("max_position_embeddings")
    return isinstance(value, int) and isinstance(longest, int) and value >= longest


def _no_other_layers(value: Any, *_: Any) -> bool:
    return not value or (isinstance(value, list) and all(each == "full_attention" for each in value))


def _one_head(value: Any, config: Mapping[str, Any], _: str) -> bool:
    """The width of a head that follows from the others."""
    hidden = next((config[name] for name in ("hidden_size", "d_model", "n_embd", "dim") if name in config), None)
    heads = next((config[name] for name in ("num_attention_heads", "n_head", "n_heads") if name in config), None)
    numbers = isinstance(value, int) and isinstance(hidden, int) and isinstance(heads, int)
    return value is None or (numbers and value * heads == hidden)


def _all_heads(value: Any, config: Mapping[str, Any], _: str) -> bool:
    heads = next((config[name] for name in ("num_attention_heads", "n_head", "n_heads") if name in config), None)
    return value is None or value == heads


def _does(pattern: str) -> Neutral:
    """A switch that is on where the code has this."""
    return lambda value, _, code: bool(value) == bool(re.search(pattern, code))


def _norm_first(value: Any, _: Mapping[str, Any], code: str) -> bool:
    """BART and its relatives: whether a layer normalizes its input, and not its output."""
    norm, attention = (code.find(f"self.self_attn{rest}") for rest in ("_layer_norm(hidden", "("))
    return value is None or bool(value) == (0 <= norm < attention)


def _positions(value: Any, _: Mapping[str, Any], code: str) -> bool:
    rotary = "rotary" in code.lower()
    said = {"absolute": True, "rope": rotary, "rotary": rotary, "alibi": "alibi" in code.lower()}
    # Turned in pairs of neighbours, which one can't see from the code
    return value is None or said.get(str(value), value == "rope_gptj" and "Cohere" in code)


def _causal(value: Any, _: Mapping[str, Any], code: str) -> bool:
    return value is None or bool(value) == ("ForCausalLM" in code and "ForMaskedLM" not in code)


# Values with which an entry says what a model does that has no such entry.
NEUTRAL: dict[str, Neutral] = {
    "rope_scaling": _no_scaling,
    "rope_parameters": _no_scaling,
    **dict.fromkeys(("rope_theta", "rotary_emb_base", "rotary_base"), _one_of(10000)),
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct", "rope_pct", "rotary_scaling_factor"), _one_of(1)),
    "rotary": _does("rotary"),
    "position_embedding_type": _positions,
    **dict.fromkeys(("alibi", "use_alibi"), _does("alibi")),
    **dict.fromkeys(("is_causal", "causal"), _causal),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "attention_window", "attention_chunk_size"), _no_window),
    "layer_types": _no_other_layers,
    **dict.fromkeys(("head_dim", "kv_channels", "attention_head_size", "d_head", "d_kv", "rotary_dim"), _one_head),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_head_kv"), _all_heads),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "logits_soft_cap"), _one_of(0)),
    **dict.fromkeys(("clip_qkv", "clamp_kqv", "query_pre_attn_scalar"), _one_of()),
    **dict.fromkeys(("logit_scale", "logits_scaling", "scale_emb", "lm_head_multiplier", "key_multiplier"), _one_of(1)),
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier", "attention_multiplier"), _one_of(1)),
    **dict.fromkeys(("qk_norm", "use_qk_norm", "qk_layernorm", "scale_embedding"), _one_of(False)),
    **dict.fromkeys(("scale_attn_weights", "untie_r"), _one_of(True)),
    "normalize_before": _norm_first,
    "layernorm_variant": lambda value, config, code: _norm_first(value == "prelayernorm", config, code),
    "add_final_layer_norm": _does(r"Encoder\b(?s:.)*?\n        self\.layer_norm = (?s:.)*?\n    def forward"),
    "normalize_embedding": _does("layernorm_embedding"),
    "static_position_embeddings": _does("Sinusoidal"),
    "add_bias_logits": _one_of(False),
    "use_gated_activation": _does("gate_proj"),
    "use_parallel_block": _does("Cohere"),
    "use_embedding_sharing": lambda value, config, _: bool(value) == bool(config.get("tie_word_embeddings")),
    "order_of_interleaved_layers": lambda value, _, code: value == "local_attn_first" and "Cohere2" in code,
    "pruned_heads": _one_of({}),
    "force_bos_token_to_be_generated": lambda value, config, _: (
        not value or config.get("forced_bos_token_id") is not None
    ),
}
