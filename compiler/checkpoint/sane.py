"""Values of config.json that no model has are refused by name, before memory is taken for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compiler.checkpoint.weights import shapes
from compiler.errors import CheckpointError

LAYERS = frozenset({
    "num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "num_decoder_layers",
})  # fmt: skip
SIZES = frozenset({
    "hidden_size", "intermediate_size", "vocab_size", "d_model", "d_ff", "n_embd", "embedding_size", "dim",
    "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim", "moe_intermediate_size", "head_dim", "d_kv",
    "n_inner", "d_inner", "word_embed_proj_dim", "decoder_vocab_size", "num_labels", "relative_attention_num_buckets",
})  # fmt: skip
HEADS = frozenset({
    "num_attention_heads", "num_key_value_heads", "num_heads", "n_head", "n_heads", "num_kv_heads",
    "encoder_attention_heads", "decoder_attention_heads",
})  # fmt: skip
POSITIONS = frozenset({"max_position_embeddings", "n_positions", "seq_length"})
DEEP, WIDE, LONG = 256, 1 << 16, 1 << 24  # layers, sizes and tokens that are never doubted
SWITCHES = frozenset({"output_hidden_states", "output_attentions", "is_decoder", "add_cross_attention", "is_gated_act"})
DTYPES = ("float32", "float16", "bfloat16", "float64")
NAMES = frozenset({"id2label", "label2id", "task_specific_params"})  # of labels and tasks: no configurations
UNBOUNDED = "time_step_limit"  # may be infinite


def require_sane(config: dict[str, Any], model: str) -> None:
    """Refuse counts that are not positive, numbers that are none, and settings that make a model return other things.

    Args:
        config: config.json, with configurations inside it.
        model: the checkpoint as its user named it.

    Raises:
        CheckpointError: it names the entry.
    """
    for part in parts(config):
        for name, value in part.items():
            if wanted := _wanted(name, value):
                raise CheckpointError(
                    f'{model}: "{name}" of config.json cannot be {str(value)[:40]}',
                    expected=wanted,
                    action="use the config.json that was saved with the weights",
                )


def require_plausible(config: dict[str, Any], weights: Sequence[Path], model: str) -> None:
    """Refuse a configuration of far more or larger layers than the weights have, before memory is taken for it.

    Raises:
        CheckpointError: it names the entry.
    """
    found = {name: shape for path in weights for name, shape in shapes(path).items()}
    largest = max((size for shape in found.values() for size in shape), default=0)
    tables = any("position" in name or ".wpe." in name for name in found)
    limits = {
        **dict.fromkeys(LAYERS, max(len(found), DEEP)),
        **dict.fromkeys(SIZES | HEADS | {"type_vocab_size"}, max(largest, WIDE)),
        **dict.fromkeys(POSITIONS, max(largest, WIDE) if tables else LONG),
    }
    for part in parts(config):
        for name, value in part.items():
            if isinstance(value, int | float) and value > limits.get(name, math.inf):
                raise CheckpointError(
                    f"{model}: weights and configuration do not belong together",
                    found=f"{name} {value} in config.json",
                    expected=f"at most {limits[name]}: the weights are {len(found)} tensors, of {largest} rows at most",
                    action="use the config.json that was saved with the weights",
                )


def parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The configuration and every configuration inside it."""
    yield config
    for name, value in config.items():
        if isinstance(value, dict) and name not in NAMES:
            yield from parts(value)


def _wanted(name: str, value: Any) -> str:
    """What an entry must be; "" where it is that. What is null is not stated."""
    if any(math.isnan(each) or (math.isinf(each) and name != UNBOUNDED) for each in _floats(value)):
        return "numbers that are finite"
    if value is None and name not in ("num_labels", "chunk_size_feed_forward"):
        return ""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in LAYERS | SIZES | HEADS | POSITIONS:
        # Some families state a number for each layer, or for each kind of layers.
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 1 for each in inside):
            return "a whole number, 1 or more"
    elif name.endswith(("_eps", "_epsilon")) and not (number and value >= 0):
        return "a number, 0 or more"
    elif name == "type_vocab_size" and not (isinstance(value, int) and value >= 0):
        return "a whole number, 0 or more"
    elif name == "rope_theta" and number and value <= 0:
        return "a number above 0"
    elif "dropout" in name and number and not 0 <= value <= 1:
        return "a share, 0 to 1"
    elif name == "return_dict" and value is not True:
        return "true: answers are asked for by their names"
    elif name in SWITCHES and not isinstance(value, bool):
        return "true or false"
    elif name == "chunk_size_feed_forward" and (value != 0 or isinstance(value, bool)):
        return "0: chunks of a text change no answer, and fix its length"
    elif name == "relative_attention_max_distance" and number and value < 1:
        return "a number of tokens"
    elif name in ("id2label", "label2id") and not isinstance(value, dict):
        return "names and numbers of labels"
    elif name in ("rope_scaling", "rope_parameters") and value and not isinstance(value, dict):
        return "the settings of rotary positions"
    elif name in ("dtype", "torch_dtype") and value not in DTYPES and not isinstance(value, dict):
        return f"one of {', '.join(DTYPES)}"
    return ""


def _floats(value: Any) -> Iterator[float]:
    """The fractions in a value; a configuration inside it is looked at by itself."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, float):
            yield each
