"""A compiled decoder: prefill and greedy decode of one prompt, through the engine session that `generate` drives."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from timing import answer, arguments

from compiler.engines import Session, engine
from compiler.records import CacheShape, Manifest, load

asked = arguments()
bundle = Path(asked["bundle"])
manifest = load(bundle / "manifest.json", Manifest)


def generation(session: Session, cache: CacheShape, prompt: np.ndarray, new_tokens: int) -> tuple[float, float]:
    """(prefill in ms up to the first token, decoded tokens per second) of one generation."""
    decoding = session.decode(cache, 1, prompt.shape[1] + new_tokens + 1)
    lengths = np.array([prompt.shape[1]], dtype=np.int64)
    started = time.perf_counter()
    token = decoding.step(prompt, lengths).argmax(axis=-1)
    first = time.perf_counter()
    for _ in range(new_tokens):
        lengths = lengths + 1
        token = decoding.step(token[:, None], lengths).argmax(axis=-1)
    return (first - started) * 1e3, new_tokens / (time.perf_counter() - first)


session = engine(manifest.engine).open(bundle / manifest.model, manifest.options)
prompt = np.array([asked["prompt"]], dtype=np.int64)
if manifest.cache is None:
    raise SystemExit(f"{bundle} is not a decoder")
generation(session, manifest.cache, prompt, 8)
runs = [generation(session, manifest.cache, prompt, asked["new_tokens"]) for _ in range(asked["runs"])]
answer(prefill_ms=[run[0] for run in runs], tokens_per_second=[run[1] for run in runs])
