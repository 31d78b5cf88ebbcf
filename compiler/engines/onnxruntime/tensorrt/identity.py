"""What the engine is called, and of which version what it builds is."""

from __future__ import annotations

from compiler.engines.onnxruntime import cuda as onnxruntime_cuda

name = "onnxruntime-tensorrt"


def version() -> str:
    """ONNX Runtime's, TensorRT's, and the GPU that engines are built for: all that decides them beside the model."""
    from compiler.engines.onnxruntime.tensorrt.installed import library_version, target

    return f"{onnxruntime_cuda.version()}; TensorRT {library_version()} for {target(0)}"
