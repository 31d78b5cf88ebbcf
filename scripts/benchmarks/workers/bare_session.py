"""A plain InferenceSession on a bundle's own engine file, with ONNX Runtime's defaults."""

from __future__ import annotations

import numpy as np
import onnxruntime
from timing import answer, arguments, samples_ms

asked = arguments()
session = onnxruntime.InferenceSession(asked["model"], providers=["CPUExecutionProvider"])
batch, sequence = asked["shape"]
values = {
    "input_ids": np.random.default_rng(0).integers(1000, 30000, (batch, sequence)),
    "attention_mask": np.ones((batch, sequence), dtype=np.int64),
    "token_type_ids": np.zeros((batch, sequence), dtype=np.int64),
}
feeds = {port.name: values[port.name] for port in session.get_inputs()}
answer(latency_ms=samples_ms(lambda: session.run(None, feeds), asked["seconds"], warmup=50))
