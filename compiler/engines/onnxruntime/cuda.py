"""ONNX Runtime on an NVIDIA GPU.

As on the CPU the model file is ONNX itself. What would fall back to the CPU is an error, when a model is built and
whenever it is opened.
"""

from __future__ import annotations

from collections.abc import Collection

from compiler.engines import PlanBuilding
from compiler.engines.onnxruntime.engine import OnnxRuntime
from compiler.engines.onnxruntime.installed import load_libraries, refuse_missing_device, why_no_gpu, why_without
from compiler.engines.onnxruntime.provider import Provider
from compiler.records import EngineOptions

name = "onnxruntime-cuda"
plans: PlanBuilding = "none"


def why_unavailable() -> str | None:
    """None where there is a GPU with its driver, and an ONNX Runtime that was built for it."""
    return why_no_gpu() or why_without("CUDAExecutionProvider")


why_not_whole = why_unavailable


def ready(options: EngineOptions, formats: Collection[str] = ()) -> None:
    """Raise EngineUnavailableError if the GPU of `options.device` is not there."""
    refuse_missing_device(options.device)


def provider(options: EngineOptions) -> Provider:
    """CUDA as a session is opened with it, its libraries loaded.

    TF32 stays off: a product of float32 numbers is one, and what may be less is in the graph.
    """
    load_libraries()
    settings = {
        "device_id": str(options.device),
        "use_tf32": "0",
        "enable_cuda_graph": str(int(options.cuda_graph)),
    }
    return Provider(
        "CUDAExecutionProvider", settings, device="cuda", device_id=options.device, cuda_graph=options.cuda_graph
    )


_shared = OnnxRuntime(name, provider, ready)
version, serving, build, open = _shared.version, _shared.serving, _shared.build, _shared.open
describe, watch, precisions = _shared.describe, _shared.watch, _shared.precisions
