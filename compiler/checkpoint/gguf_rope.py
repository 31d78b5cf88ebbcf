"""Rotary scaling of a GGUF file, which transformers' conversion drops, as transformers' own rope parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.errors import CheckpointError

FREQUENCIES = "rope_freqs.weight"
SHORT, LONG = "rope_factors_short.weight", "rope_factors_long.weight"  # divisors, below and beyond the trained context
TABLES = frozenset({FREQUENCIES, SHORT, LONG})
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}  # of every Llama since 3.1
CONTEXTS = [1 << power for power in range(4, 21)]  # tokens before extension


def scaled(path: Path, metadata: Mapping[str, Any], tables: Mapping[str, np.ndarray], rope: Any) -> dict[str, Any]:
    """The rope parameters of the model.

    Args:
        metadata: the file's keys.
        tables: (head_dim / 2,) float32 each, divisors of the frequencies: those of `TABLES` that the file has.
        rope: transformers' parameters as it converted them; for some models, for each kind of layer.

    Raises:
        CheckpointError: a kind of scaling that is not supported.
    """
    if isinstance(rope, dict) and "full_attention" in rope:  # only these layers see beyond the trained context
        return {**rope, "full_attention": scaled(path, metadata, tables, rope["full_attention"])}
    prefix = f"{metadata['general.architecture']}.rope."
    found = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    factor = found.get("scaling.factor", found.get("scale_linear", 0.0)) or 1.0
    kind = found.get("scaling.type", "linear" if factor != 1.0 else "none")
    if kind == "none" or (kind == "linear" and factor == 1.0):
        kind = ""
    # llama.cpp multiplies a factor of the file's with the one that YaRN derives.
    own = float(found.get("scaling.yarn_attn_factor", found.get("scaling.attn_factor", 1.0)))
    if own != 1.0 and kind != "yarn" and SHORT not in tables:
        raise _unsupported(path, f"attn_factor {own}")
    if not kind and not tables:
        return dict(rope) if isinstance(rope, dict) else rope
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
        raise _unsupported(path, kind or ", ".join(tables))
    trained = int(
        found.get("scaling.original_context_length", metadata[f"{metadata['general.architecture']}.context_length"])
    )
    if tables.keys() == {SHORT, LONG} and kind in ("", "longrope") and factor == 1.0:
        return {
            **rope,
            "rope_type": "longrope",
            "short_factor": tables[SHORT].tolist(),
            "long_factor": tables[LONG].tolist(),
            "original_max_position_embeddings": trained,
            "attention_factor": own,
        }
    if tables:
        if kind or tables.keys() != {FREQUENCIES}:
            raise _unsupported(path, kind or ", ".join(sorted(tables)))
        return {**rope, **_llama3(path, tables[FREQUENCIES], float(rope["rope_theta"]))}
    if kind == "linear":
        return {**rope, "rope_type": "linear", "factor": float(factor)}
    if kind != "yarn" or found.get("scaling.yarn_ext_factor", 1.0) != 1.0 or found.get("scaling.yarn_log_multiplier"):
        raise _unsupported(path, kind)
    return {
        **rope,
        "rope_type": "yarn",
        "factor": float(factor),
        "original_max_position_embeddings": trained,
        "attention_factor": own * (1 + 0.1 * math.log(factor)),
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
        expected="linear, yarn or longrope, or divisors of the frequencies as Llama 3.1 has them",
        action="use the original checkpoint folder instead",
    )
