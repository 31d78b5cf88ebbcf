"""Rotary scaling of a GGUF file, which transformers' conversion drops, as transformers' own rope parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.errors import CheckpointError

FREQUENCIES = "rope_freqs.weight"
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}  # of every Llama since 3.1
CONTEXTS = [1 << power for power in range(4, 21)]  # tokens before extension


def scaled(path: Path, metadata: Mapping[str, Any], factors: np.ndarray | None, rope: Any) -> dict[str, Any]:
    """The rope parameters of the model.

    Args:
        metadata: the file's keys.
        factors: (head_dim / 2,) float32, divisors of the frequencies: the tensor `rope_freqs.weight`, if there is one.
        rope: transformers' parameters as it converted them.

    Raises:
        CheckpointError: a kind of scaling that is not supported.
    """
    prefix = f"{metadata['general.architecture']}.rope."
    found = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    factor = found.get("scaling.factor", found.get("scale_linear", 0.0)) or 1.0
    kind = found.get("scaling.type", "linear" if factor != 1.0 else "none")
    if kind == "none" or (kind == "linear" and factor == 1.0):
        kind = ""
    if not kind and factors is None:
        return dict(rope) if isinstance(rope, dict) else rope
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default" or (kind and factors is not None):
        raise _unsupported(path, kind or FREQUENCIES)
    if factors is not None:
        return {**rope, **_llama3(path, factors, float(rope["rope_theta"]))}
    if kind == "linear":
        return {**rope, "rope_type": "linear", "factor": float(factor)}
    if kind != "yarn" or found.get("scaling.yarn_ext_factor", 1.0) != 1.0 or found.get("scaling.yarn_log_multiplier"):
        raise _unsupported(path, kind)
    # llama.cpp multiplies a factor of the file's with the one that YaRN derives.
    own = found.get("scaling.yarn_attn_factor", found.get("scaling.attn_factor", 1.0))
    return {
        **rope,
        "rope_type": "yarn",
        "factor": float(factor),
        "original_max_position_embeddings": int(
            found.get("scaling.original_context_length", metadata[f"{metadata['general.architecture']}.context_length"])
        ),
        "attention_factor": float(own) * (1 + 0.1 * math.log(factor)),
        "beta_fast": float(found.get("scaling.yarn_beta_fast", 32.0)),
        "beta_slow": float(found.get("scaling.yarn_beta_slow", 1.0)),
    }


def _llama3(path: Path, factors: np.ndarray, base: float) -> dict[str, Any]:
    """Parameters that give these divisors: Llama 3's, with the context before extension that fits them."""
    size = len(factors)
    waves = 2 * math.pi * base ** (np.arange(size) / size)
    factor = float(factors.max())
    for context in CONTEXTS:
        share = (context / waves - LLAMA3["low_freq_factor"]) / (LLAMA3["high_freq_factor"] - LLAMA3["low_freq_factor"])
        share = np.clip(share, 0.0, 1.0)
        if np.allclose(1 / ((1 - share) / factor + share), factors, rtol=1e-4):
            found = {"rope_type": "llama3", "factor": factor, "original_max_position_embeddings": context}
            return {**found, **LLAMA3}
    raise _unsupported(path, FREQUENCIES)


def _unsupported(path: Path, kind: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: rope scaling of this kind is not supported in a GGUF",
        found=str(kind)[:80],
        expected="linear or yarn, or divisors of the frequencies as Llama 3.1 has them",
        action="use the original checkpoint folder instead",
    )
