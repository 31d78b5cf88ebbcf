"""A GGUF file in PyTorch for the reference: its rotary frequencies as llama.cpp computes them, set into the model.

Formulas of `ggml_rope_yarn_corr_dims` and `rope_yarn` in llama.cpp's ggml. Nothing here knows transformers' names for
kinds of scaling, which what is built goes by.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np


def open_gguf(path: Path, loader: Any, dtype: Any) -> Any:
    """The model, loaded by transformers, turned by the file's own frequencies."""
    from transformers import GgufConfig

    from compiler.checkpoint.gguf import metadata_of, read_once

    settings = GgufConfig(gguf_file=path.name, dequantize=True)
    with read_once() as read:
        model = loader.from_pretrained(path.parent, gguf_file=path.name, quantization_config=settings, dtype=dtype)
        reader = read(path)
        metadata = metadata_of(reader)
        divisors = next((np.array(each.data) for each in reader.tensors if each.name == "rope_freqs.weight"), None)
    rotary = [
        module for module in model.modules() if hasattr(module, "inv_freq") and hasattr(module, "attention_scaling")
    ]
    for module in rotary:
        set_frequencies(module, metadata, divisors)
    if not metadata.get(f"{metadata['general.architecture']}.attention.sliding_window"):
        model.config.sliding_window = None
    return model


def set_frequencies(module: Any, metadata: dict[str, Any], divisors: np.ndarray | None) -> None:
    """Put the angles per position, (rotary / 2,), and the scale of cosine and sine into a rotary module."""
    import torch

    prefix = f"{metadata['general.architecture']}."

    def value(name: str, default: Any) -> Any:
        return metadata.get(prefix + name, default)

    count = 2 * module.inv_freq.numel()
    base = float(value("rope.freq_base", 10000.0))
    pairs = np.arange(count // 2)
    angles = base ** (-2.0 * pairs / count)
    if divisors is not None:
        angles = angles / divisors
    shrink = 1.0 / float(value("rope.scaling.factor", 0.0) or value("rope.scale_linear", 0.0) or 1.0)
    kind, scale = value("rope.scaling.type", "linear"), 1.0
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
        own = value("rope.scaling.yarn_attn_factor", value("rope.scaling.attn_factor", 1.0))
        scale = float(own) * (1.0 + 0.1 * math.log(1.0 / shrink))
    frequencies = torch.tensor(angles, dtype=module.inv_freq.dtype)
    module.inv_freq = frequencies
    if hasattr(module, "original_inv_freq"):
        module.original_inv_freq = frequencies.clone()
    module.attention_scaling = scale
