"""OpenVINO on the portable model: float32, its own default, int8 by NNCF. Runs in an environment of its own."""

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


def measured(model: ov.Model, options: dict[str, str]) -> dict[str, list[float]]:
    request = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **options}).create_infer_request()
    latency = {}
    for batch, sequence in asked["shapes"]:
        fed = feeds(batch, sequence)
        latency[f"{batch}x{sequence}"] = samples_ms(lambda fed=fed: request.infer(fed), asked["seconds"])
    return latency


answer(
    latency_ms={
        "float32": measured(portable, {"INFERENCE_PRECISION_HINT": "f32"}),
        "default": measured(portable, {}),
        "int8": measured(quantized(), {}),
    }
)
