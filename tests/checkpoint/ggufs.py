"""GGUF files of tiny random models of several architectures, written as llama.cpp's converter writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

WORDS = ["<pad>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "to", "on", "<mask>", "<unk>"]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON = {**SIZES, "num_key_value_heads": 2, "vocab_size": len(WORDS), "max_position_embeddings": 128}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": len(WORDS)}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", COMMON),
    "qwen2": ("Qwen2", {**COMMON, "tie_word_embeddings": False}),
    "qwen3": ("Qwen3", {**COMMON, "head_dim": 16, "tie_word_embeddings": True}),
    "gemma2": ("Gemma2", {**COMMON, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16}),
    "gemma3": ("Gemma3", {**COMMON, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16}),
    "phi3": ("Phi3", {**COMMON, "pad_token_id": 0}),
    "gpt2": ("GPT2", GPT2),
    "starcoder2": ("Starcoder2", COMMON),
}
HEADED, LAYER_NORMED = ("qwen3", "gemma2", "gemma3"), ("gpt2", "starcoder2")


def model(architecture: str, **changes: Any) -> Any:
    """The architecture's causal model, no parameter of which is where its class puts it."""
    name, settings = ARCHITECTURES[architecture]
    config_class = getattr(transformers, f"{name}TextConfig" if name == "Gemma3" else f"{name}Config")
    model_class = getattr(transformers, f"{name}{'LMHeadModel' if name == 'GPT2' else 'ForCausalLM'}")
    torch.manual_seed(0)
    made = model_class(config_class(**{**settings, "initializer_range": 0.3, **changes})).eval()
    for parameter in made.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def write(
    path: Path,
    architecture: str,
    made: Any,
    keys: Mapping[str, Any] | None = None,
    tables: Mapping[str, list[float]] | None = None,
) -> Path:
    """A file of this model; `keys` (of the architecture) come to those that say its sizes, or take their place."""
    writer = gguf.GGUFWriter(path, architecture)
    adders = {bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
    for key, value in (_sizes(architecture, made.config) | dict(keys or {})).items():
        if value is not None:
            adders[type(value)](f"{architecture}.{key}", value)
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, *[1] * (len(WORDS) - 5), 3, 2])
    if architecture.startswith("gemma"):
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([-float(rank) for rank in range(len(WORDS))])
        writer.add_unk_token_id(WORDS.index("<unk>"))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_merges(["t o", "o n"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(numbers[architecture], made.config.num_hidden_layers)
    for name, tensor in made.state_dict().items():
        if name == "lm_head.weight" and made.config.tie_word_embeddings:
            continue
        array = tensor.numpy().copy()
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            array = array + 1
        if name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):  # GPT-2 has them the other way round
            array = array.T.copy() if architecture == "gpt2" else array
        if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):  # neighbours turn together
            heads = made.config.num_attention_heads if "q_proj" in name else made.config.num_key_value_heads
            array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape).copy()
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), array)
    for name, values in (tables or {}).items():
        writer.add_tensor(name, np.array(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _sizes(architecture: str, config: Any) -> dict[str, Any]:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    said: dict[str, Any] = {
        "context_length": getattr(config, "n_positions", None) or config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        "attention.head_count": config.num_attention_heads,
    }
    if architecture in LAYER_NORMED:
        epsilon = getattr(config, "norm_epsilon", None) or config.layer_norm_epsilon
        said["attention.layer_norm_epsilon"] = epsilon
    else:
        said["attention.layer_norm_rms_epsilon"] = config.rms_norm_eps
    if architecture != "gpt2":
        rope = config.rope_parameters
        said["attention.head_count_kv"] = config.num_key_value_heads
        said["rope.freq_base"] = float(rope.get("full_attention", rope)["rope_theta"])
    if architecture in HEADED:
        said |= {"attention.key_length": head, "attention.value_length": head}
    if architecture == "gemma2":
        said["attn_logit_softcapping"] = config.attn_logit_softcapping
        said["final_logit_softcapping"] = config.final_logit_softcapping
    if architecture.startswith("gemma"):
        said["attention.sliding_window"] = config.sliding_window
    if architecture == "llama":
        said["rope.dimension_count"] = head
    if architecture == "phi3":
        said |= {"rope.dimension_count": head, "attention.sliding_window": config.sliding_window or 0}
        said["rope.scaling.original_context_length"] = config.original_max_position_embeddings
    return said
