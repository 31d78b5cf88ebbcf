"""Sessions on the small decoders of `tests.models`, and their answers step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compiler.engines import Session, engine
from compiler.records import CacheShape, EngineOptions
from tests import models

OPTIONS = EngineOptions(threads=1, spinning=False)
LAYOUTS = ["shared", "concatenated"]
TOKENS = np.random.default_rng(1).integers(6, models.VOCABULARY, 24)


def open_session(folder: Path) -> Session:
    return engine("onnxruntime-cpu").open(folder / "model.onnx", OPTIONS)


def cache(layout: str) -> CacheShape:
    return CacheShape(**models.CACHE, layout=layout)  # type: ignore[arg-type]


def teacher_forced(session: Session, layout: str, tokens: np.ndarray, chunks: list[int]) -> np.ndarray:
    """Logits after each chunk of one row."""
    decoding = session.decode(cache(layout), 1, tokens.size)
    found, start = [], 0
    for size in chunks:
        start += size
        found.append(decoding.step(tokens[None, start - size : start], np.array([start])).copy())
    return np.concatenate(found)
