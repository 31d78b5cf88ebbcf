"""Logits to probabilities, and the names of what they belong to."""

from __future__ import annotations

import numpy as np

from compiler.records import Manifest
from compiler.runtime.text import Text


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities that add up to 1 over the last axis. -inf is impossible."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Each logit's own probability."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def labels(manifest: Manifest, text: Text) -> list[str]:
    """The name of every column of the logits, as the checkpoint's configuration has it."""
    named = text.config.get("id2label")
    named = named if isinstance(named, dict) else {}
    width = next((tensor.shape[-1] for tensor in manifest.outputs if tensor.name == "logits"), None)
    count = width if isinstance(width, int) else len(named)
    return [str(named.get(str(index), f"LABEL_{index}")) for index in range(count)]
