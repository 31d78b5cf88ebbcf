"""An encoder as a plan of two profiles, and its answers beside the model's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.engines.tensorrt.runtime.session import PlanSession
from compiler.records import EngineOptions, Shapes
from tests import models

SMALL: Shapes = {"batch": (1, 1, 2), "sequence": (1, 8, 16)}
LARGE: Shapes = {"batch": (1, 4, 8), "sequence": (1, 32, 64)}


def feeds(batch: int, sequence: int, seed: int = 0) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(seed).integers(6, models.VOCABULARY, (batch, sequence))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def check(session: PlanSession, model: Path, *shapes: tuple[int, int]) -> None:
    """Both give the same outputs."""
    reference = OnnxRuntimeSession(model, EngineOptions(threads=1, spinning=False))
    for seed, (batch, sequence) in enumerate(shapes):
        given = feeds(batch, sequence, seed)
        (name,) = found = session.run(given)
        np.testing.assert_array_equal(found[name], reference.run(given)[name])
