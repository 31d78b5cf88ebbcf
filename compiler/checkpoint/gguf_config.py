"""What a GGUF file says about its model and transformers' conversion leaves at the defaults of the model's class.

Rules are those of llama.cpp (src/models of ggml-org/llama.cpp), which knows some settings by the architecture alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.errors import CheckpointError

LARGEST = {"gemma2": 46, "gemma3": 62}  # layers of the one size whose scores are scaled by the width of hidden states
WINDOW = 4096  # of Gemma 2, where the file does not say


def complete(path: Path, metadata: Mapping[str, Any], config: Any) -> None:
    """Put the file's own settings into transformers' configuration, before a model is made of it.

    Raises:
        CheckpointError: a setting without which nobody knows what the model does is missing.
    """
    architecture = metadata["general.architecture"]
    said = {key.removeprefix(f"{architecture}."): value for key, value in metadata.items()}
    width, heads = said.get("embedding_length", 0), said.get("attention.head_count", 0)
    if architecture == "qwen3":
        config.head_dim = said.get("attention.key_length") or width // heads
    if architecture == "gpt2":
        config.n_positions, config.n_inner = said["context_length"], said["feed_forward_length"]
        for stray in ("n_ctx", "feed_forward_length"):  # nothing in the model's code has these names
            if hasattr(config, stray):
                delattr(config, stray)
    if architecture == "phi3":
        config.sliding_window = said.get("attention.sliding_window") or None
        config.original_max_position_embeddings = said.get("rope.scaling.original_context_length") or (
            config.max_position_embeddings
        )
    if architecture in LARGEST:
        whole = config.num_hidden_layers == LARGEST[architecture]
        config.query_pre_attn_scalar = width // heads if whole else config.head_dim
        caps = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        for name, usual in caps.items():
            value = said.get(name, usual if architecture == "gemma2" else None)
            setattr(config, name, value or None)
        config.sliding_window = said.get("attention.sliding_window", WINDOW if architecture == "gemma2" else 0)
        if not config.sliding_window:
            raise CheckpointError(
                f'{path}: "{architecture}.attention.sliding_window" is missing in this GGUF',
                action="use the original checkpoint folder instead",
            )
    if architecture == "gemma3" and "rope.freq_base_swa" in said:
        config.rope_parameters["sliding_attention"]["rope_theta"] = said["rope.freq_base_swa"]
