"""What of NVIDIA's software is here, for a person who asks why a GPU is not used."""

from __future__ import annotations

from typing import Any

from compiler import driver
from compiler.engines.onnxruntime.installed import providers
from compiler.engines.tensorrt.flavors import absent, installed


def software() -> dict[str, Any]:
    """The driver, or why there is none; every flavor of TensorRT; ONNX Runtime's providers."""
    gpus = driver.devices()
    return {
        "driver": gpus[0].driver if gpus else None,
        "why_no_driver": "" if gpus else driver.why_none(),
        "tensorrt": {
            **{flavor.name: {"version": flavor.version, "reason": ""} for flavor in installed()},
            **{name: {"version": None, "reason": reason} for name, reason in absent().items()},
        },
        "providers": providers(),
    }
