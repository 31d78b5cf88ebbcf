"""The TensorRT provider's settings. Precision is none of them: it is in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from compiler.engines.onnxruntime import cuda as onnxruntime_cuda
from compiler.engines.onnxruntime.provider import Provider
from compiler.engines.onnxruntime.tensorrt.installed import PROVIDER
from compiler.engines.plans.shapes import InputShapes
from compiler.records import EngineOptions, PlanOptions, Tensor
from compiler.storage import cache_folder


def provider(
    options: EngineOptions, engines: Path, inputs: Sequence[Tensor], profiles: Sequence[InputShapes]
) -> Provider:
    """TensorRT, with CUDA behind it.

    Args:
        engines: the folder in which ONNX Runtime looks for compiled engines, and keeps those that it compiles.
        inputs: of the graph.
        profiles: of every input the smallest, usual and largest shape, for each bucket of shapes.
    """
    plans = options.plans or PlanOptions()
    timing = cache_folder() / "timing" / "onnxruntime"
    timing.mkdir(parents=True, exist_ok=True)
    settings = {
        "device_id": str(options.device),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(timing),
        "trt_builder_optimization_level": str(plans.optimization_level),
        "trt_engine_hw_compatible": str(int(plans.hardware_compatible == "ampere-plus")),
        "trt_cuda_graph_enable": str(int(options.cuda_graph)),
        **_shapes(inputs, profiles),
    }
    if plans.workspace_bytes:
        settings["trt_max_workspace_size"] = str(plans.workspace_bytes)
    behind = onnxruntime_cuda.provider(msgspec.structs.replace(options, cuda_graph=False))
    return Provider(
        PROVIDER,
        settings,
        device="cuda",
        device_id=options.device,
        behind=behind,
        compiles=True,
        cuda_graph=options.cuda_graph,
    )


def _shapes(inputs: Sequence[Tensor], profiles: Sequence[InputShapes]) -> dict[str, str]:
    """As in "input_ids:1x8,attention_mask:1x8": every input with a dynamic dim, once for each bucket."""
    dynamic = [tensor.name for tensor in inputs if any(isinstance(dim, str) for dim in tensor.shape)]
    return {
        f"trt_profile_{which}_shapes": ",".join(
            f"{name}:{'x'.join(map(str, profile[name][index]))}" for profile in profiles for name in dynamic
        )
        for index, which in enumerate(("min", "opt", "max"))
    }
