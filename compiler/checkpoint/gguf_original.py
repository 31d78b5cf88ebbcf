"""A GGUF file in PyTorch for the reference: its rotary frequencies as llama.cpp computes them, set into the model.

Formulas of `ggml_rope_yarn_corr_dims` and `rope_yarn` in llama.cpp's ggml. Nothing here knows transformers' names for
kinds of scaling, which what is built goes by.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

# Divisors of the frequencies. Those for longer texts are not read: a bundle's context ends where they would be.
DIVISORS = ("rope_freqs.weight", "rope_factors_short.weight")


def open_gguf(path: Path, loader: Any, dtype: Any) -> Any:
    """The model, loaded by transformers, turned and scaled by what the file itself says."""
    from transformers import AutoConfig, GgufConfig

    from compiler.checkpoint.gguf import alone, metadata_of, read_once

    settings = GgufConfig(gguf_file=path.name, dequantize=True)
    with read_once() as read, alone(path) as folder:
        reader = read(path)
        metadata = metadata_of(reader)
        tensors = {each.name: each for each in reader.tensors}
        config = AutoConfig.from_pretrained(folder, gguf_file=path.name)
        _fit(config, tensors)
        model = loader.from_pretrained(
            folder, config=config, gguf_file=path.name, quantization_config=settings, dtype=dtype
        )
        divisors = {name: np.array(tensors[name].data) for name in DIVISORS if name in tensors}
    _set_rotary(model, metadata, next(iter(divisors.values()), None))
    set_attention(model, metadata)
    return model


def _fit(config: Any, tensors: dict[str, Any]) -> None:
    """Sizes that the tensors themselves have; a shape in the file is (inputs, outputs)."""
    if "position_embd.weight" in tensors:
        config.n_positions = int(tensors["position_embd.weight"].shape[1])
        config.n_inner = int(tensors["blk.0.ffn_up.weight"].shape[1])
    if "blk.0.attn_q_norm.weight" in tensors:
        config.head_dim = int(tensors["blk.0.attn_q_norm.weight"].shape[0])


def set_attention(model: Any, metadata: dict[str, Any]) -> None:
    """How scores are scaled and bounded, and how far attention sees."""
    kind = metadata["general.architecture"]
    window = metadata.get(f"{kind}.attention.sliding_window", 4096 if kind == "gemma2" else None)
    if kind == "phi3" or not window:
        model.config.sliding_window = window or None
    if kind not in ("gemma2", "gemma3"):
        return
    whole = metadata[f"{kind}.block_count"] == (46 if kind == "gemma2" else 62)
    divided = metadata[f"{kind}.embedding_length"] // metadata[f"{kind}.attention.head_count"]
    for module in model.modules():
        if hasattr(module, "scaling") and hasattr(module, "q_proj"):
            module.scaling = 1.0 / math.sqrt(divided if whole else metadata[f"{kind}.attention.key_length"])
            if (cap := metadata.get(f"{kind}.attn_logit_softcapping")) is not None:
                module.attn_logit_softcapping = cap or None
    if (cap := metadata.get(f"{kind}.final_logit_softcapping")) is not None:
        model.config.final_logit_softcapping = cap or None


def _set_rotary(model: Any, metadata: dict[str, Any], divisors: np.ndarray | None) -> None:
    for module in model.modules():
        if hasattr(module, "inv_freq") and hasattr(module, "attention_scaling"):
            set_frequencies(module, metadata, divisors)
        if hasattr(module, "full_attention_inv_freq"):
            set_frequencies(module, metadata, divisors, "full_attention_")
            base = metadata.get(f"{metadata['general.architecture']}.rope.freq_base_swa", 10000.0)
            set_frequencies(module, {"general.architecture": "", ".rope.freq_base": base}, None, "sliding_attention_")


def set_frequencies(module: Any, metadata: dict[str, Any], divisors: np.ndarray | None, name: str = "") -> None:
    """Put the angles per position, (rotary / 2,), and the scale of cosine and sine into a rotary module.

    `name` stands before the names of its attributes, where it has several sets of them.
    """
    import torch

    prefix = f"{metadata['general.architecture']}."

    def value(name: str, default: Any) -> Any:
        return metadata.get(prefix + name, default)

    before = getattr(module, f"{name}inv_freq")
    count = 2 * before.numel()
    base = float(value("rope.freq_base", 10000.0))
    pairs = np.arange(count // 2)
    angles = base ** (-2.0 * pairs / count)
    if divisors is not None:
        angles = angles / divisors
    shrink = 1.0 / float(value("rope.scaling.factor", 0.0) or value("rope.scale_linear", 0.0) or 1.0)
    kind = value("rope.scaling.type", "linear")
    scale = float(value("rope.scaling.yarn_attn_factor", value("rope.scaling.attn_factor", 1.0)))
    if kind == "linear":
        angles = angles * shrink
    elif kind == "yarn":
        trained = float(value("rope.scaling.original_context_length", value("context_length", 0)))

        def border(turns: float) -> float:
            return float(count) * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

        first = max(0.0, math.floor(border(float(value("rope.scaling.yarn_beta_fast", 32.0)))))
        last = min(count - 1.0, math.ceil(border(float(value("rope.scaling.yarn_beta_slow", 1.0)))))
        kept = 1.0 - np.clip((pairs - first) / max(0.001, last - first), 0.0, 1.0)
        angles = angles * (shrink * (1 - kept) + kept)
        scale *= 1.0 + 0.1 * math.log(1.0 / shrink)
    frequencies = torch.tensor(angles, dtype=before.dtype)
    setattr(module, f"{name}inv_freq", frequencies)
    if hasattr(module, f"{name}original_inv_freq"):
        setattr(module, f"{name}original_inv_freq", frequencies.clone())
    setattr(module, f"{name}attention_scaling", scale)
