"""What the engine is called, and of which version what it builds is."""

from __future__ import annotations

from compiler.engines.onnxruntime import cpu as onnxruntime_cpu

name = "tensorrt"


def version() -> str:
    """Every flavor that is installed here, with its version, and ONNX Runtime's."""
    from compiler.engines.tensorrt.flavors import installed

    flavors = [f"{flavor.name} {flavor.version}" for flavor in installed()]
    return "; ".join([*flavors, f"onnxruntime {onnxruntime_cpu.version()}"])
