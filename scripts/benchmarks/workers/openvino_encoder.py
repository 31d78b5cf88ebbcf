"""OpenVINO on the portable model: float32, its own default precision, and int8 by NNCF. Runs in the peer's own environment."""

from __future__ import annotations

import logging

import numpy as np
import openvino as ov
from timing import answer, arguments, samples_ms

asked = arguments()
core = ov.Core()
portable = core.read_model(asked["model"])
names = [port.any_name for port in portable.inputs]
random = np.random.default_rng(0)


def feeds(batch: int, sequence: int) -> dict[str, np.ndarray]:
    values = {
        "input_ids": random.integers(1000, 30000, (batch, sequence)),
        "attention_mask": np.ones((batch, sequence), dtype=np.int64),
        "token_type_ids": np.zeros((batch, sequence), dtype=np.int64),
    }
    return {name: values[name] for name in names}


def quantized() -> ov.Model:
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    calibration = nncf.Dataset([feeds(1, length) for length in range(8, 136, 4)])
    return nncf.quantize(portable, calibration, model_type=nncf.ModelType.TRANSFORMER)


latency: dict[str, dict[str, list[float]]] = {}
for precision, model, options in (
    ("float32", portable, {"INFERENCE_PRECISION_HINT": "f32"}),
    ("default", portable, {}),
    ("int8", quantized(), {}),
):
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **options})
    request = compiled.create_infer_request()
    latency[precision] = {
        f"{batch}x{sequence}": samples_ms(
            lambda fed=feeds(batch, sequence), request=request: request.infer(fed), asked["seconds"]
        )
        for batch, sequence in asked["shapes"]
    }
answer(latency_ms=latency)
