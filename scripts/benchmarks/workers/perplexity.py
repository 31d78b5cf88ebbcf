"""Perplexity of texts, teacher-forced: of the checkpoint in PyTorch float32, and of a bundle, token by token."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from timing import answer, arguments

from compiler.checkpoint.reference import Reference
from compiler.engines import engine
from compiler.records import Manifest, load

asked = arguments()
windows = [np.array([tokens], dtype=np.int64) for tokens in asked["windows"]]


def surprise(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Negative log-likelihood in nats of each next token.

    Args:
        logits: (length - 1, vocabulary), after each token but the last.
        tokens: (length,) int64.
    """
    logits = logits.astype(np.float64)
    peak = logits.max(axis=-1, keepdims=True)
    normalizer = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=-1))
    return normalizer - logits[np.arange(len(logits)), tokens[1:]]


def of_reference() -> list[np.ndarray]:
    reference = Reference(Path(asked["model"]), "text-generation")
    losses = []
    for tokens in windows:
        positions = np.arange(tokens.shape[1], dtype=np.int64)[None]
        logits = reference.logits(tokens, np.ones_like(tokens), positions)[0, :-1]
        losses.append(surprise(logits, tokens[0]))
    return losses


def of_bundle() -> list[np.ndarray]:
    bundle = Path(asked["bundle"])
    manifest = load(bundle / "manifest.json", Manifest)
    session = engine(manifest.engine).open(bundle / manifest.model, manifest.options)
    losses = []
    for tokens in windows:
        assert manifest.cache is not None
        decoding = session.decode(manifest.cache, 1, tokens.shape[1])
        logits = [
            decoding.step(tokens[:, at : at + 1], np.array([at + 1], dtype=np.int64))[0].copy()
            for at in range(tokens.shape[1] - 1)
        ]
        losses.append(surprise(np.stack(logits), tokens[0]))
    return losses


answer(
    reference=[math.exp(loss.mean()) for loss in of_reference()],
    compiled=[math.exp(loss.mean()) for loss in of_bundle()],
)
