"""PyTorch eager, float32: one forward of an encoder."""

from __future__ import annotations

import torch
from timing import answer, arguments, samples_ms
from transformers import AutoModel

asked = arguments()
model = AutoModel.from_pretrained(asked["model"], dtype=torch.float32).eval()
generator = torch.Generator().manual_seed(0)
latency: dict[str, list[float]] = {}
for batch, sequence in asked["shapes"]:
    input_ids = torch.randint(1000, 30000, (batch, sequence), generator=generator)
    feeds = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    with torch.inference_mode():
        latency[f"{batch}x{sequence}"] = samples_ms(lambda feeds=feeds: model(**feeds), asked["seconds"])
answer(latency_ms=latency)
