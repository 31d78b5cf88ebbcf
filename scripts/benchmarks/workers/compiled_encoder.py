"""A compiled encoder through `compiler.load(...).run`."""

from __future__ import annotations

import numpy as np
from timing import answer, arguments, samples_ms

import compiler

asked = arguments()
model = compiler.load(asked["bundle"])
latency: dict[str, list[float]] = {}
for batch, sequence in asked["shapes"]:
    values = {
        "input_ids": np.random.default_rng(0).integers(1000, 30000, (batch, sequence)),
        "attention_mask": np.ones((batch, sequence), dtype=np.int64),
        "token_type_ids": np.zeros((batch, sequence), dtype=np.int64),
    }
    feeds = {tensor.name: values[tensor.name] for tensor in model.manifest.inputs}
    latency[f"{batch}x{sequence}"] = samples_ms(lambda feeds=feeds: model.run(feeds), asked["seconds"], warmup=50)
answer(latency_ms=latency)
