"""onnxruntime-genai: prefill and decode of one prompt. Runs in the peer's own environment."""

from __future__ import annotations

import time

import numpy as np
import onnxruntime_genai as og
from timing import answer, arguments


def generation(model: og.Model, prompt: np.ndarray, new_tokens: int) -> tuple[float, float]:
    """(prefill in ms up to the first token, decoded tokens per second) of one generation."""
    params = og.GeneratorParams(model)
    length = len(prompt) + new_tokens + 1
    params.set_search_options(do_sample=False, min_length=length, max_length=length)
    generator = og.Generator(model, params)
    started = time.perf_counter()
    generator.append_tokens(prompt)
    generator.generate_next_token()
    first = time.perf_counter()
    for _ in range(new_tokens):
        generator.generate_next_token()
    return (first - started) * 1e3, new_tokens / (time.perf_counter() - first)


asked = arguments()
model = og.Model(asked["model"])
prompt = np.array(asked["prompt"], dtype=np.int32)
generation(model, prompt, 8)
runs = [generation(model, prompt, asked["new_tokens"]) for _ in range(asked["runs"])]
answer(prefill_ms=[run[0] for run in runs], tokens_per_second=[run[1] for run in runs])
