"""Logits to probabilities, and the names of what they belong to."""

from __future__ import annotations

import numpy as np

from compiler.errors import IntegrityError
from compiler.records import Manifest
from compiler.runtime.text import Text

MOST_LABELS = 1 << 20


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities that add up to 1 over the last axis. -inf is impossible."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Each logit's own probability, float32 with all its digits however small it is.

    e / (1 + e) below 0 and 1 / (1 + e) above, e being exp(-|logit|), neither cancel nor overflow.
    """
    powers = np.exp(-np.abs(logits.astype(np.float64)))
    return np.asarray(np.where(logits < 0, powers, 1) / (1 + powers), np.float32)


def margins(logits: np.ndarray) -> np.ndarray:
    """How far the last of several logits (..., labels) is ahead of the others together, (...) float64.

    This is the logit of its softmax probability, so it has the same order, and no ties where that has run into 0 or 1.
    """
    others = logits[..., :-1].astype(np.float64)
    largest = others.max(axis=-1)
    return np.asarray(logits[..., -1] - largest - np.log(np.exp(others - largest[..., None]).sum(axis=-1)))


def labels(manifest: Manifest, text: Text) -> list[str]:
    """The name of every column of the logits, as the checkpoint's configuration has it.

    Raises:
        IntegrityError: the manifest has more of them than anybody names.
    """
    named = text.config.get("id2label")
    named = named if isinstance(named, dict) else {}
    width = next((tensor.shape[-1] for tensor in manifest.outputs if tensor.name == "logits" and tensor.shape), None)
    count = width if isinstance(width, int) else len(named)
    if count > MOST_LABELS:
        raise IntegrityError("the manifest has too many labels", found=str(count), expected=f"at most {MOST_LABELS}")
    return [str(named.get(str(index), f"LABEL_{index}")) for index in range(count)]
