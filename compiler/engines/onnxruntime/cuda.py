"""ONNX Runtime on an NVIDIA GPU.

As on the CPU the model file is ONNX itself, and session, generation and placement are those of `onnxruntime_cpu`. What
would fall back to the CPU is an error, when a model is built and whenever it is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from compiler.engines import Feeds, Report, Session, silent
from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
from compiler.records import Built, EngineOptions, Optimized, Placement, Plan, Serving

if TYPE_CHECKING:
    from compiler.engines.onnxruntime.provider import Provider

name = "onnxruntime-cuda"


def version() -> str:
    return onnxruntime_cpu.version()


def why_unavailable() -> str | None:
    """None where there is a GPU with its driver, and an ONNX Runtime that was built for it."""
    from compiler.engines.onnxruntime.installed import why_no_gpu, why_without

    return why_no_gpu() or why_without("CUDAExecutionProvider")


def ready(options: EngineOptions) -> None:
    """Nothing where the GPU of `options.device` is there.

    Raises:
        EngineUnavailableError: it is not.
    """
    from compiler.engines.onnxruntime.installed import refuse_missing_device

    refuse_missing_device(options.device)


def provider(options: EngineOptions) -> Provider:
    """CUDA as a session is opened with it, its libraries loaded.

    TF32 stays off: a product of float32 numbers is one, and what may be less is in the graph.
    """
    from compiler.engines.onnxruntime.installed import load_libraries
    from compiler.engines.onnxruntime.provider import Provider

    load_libraries()

    settings = {
        "device_id": str(options.device),
        "use_tf32": "0",
        "enable_cuda_graph": str(int(options.cuda_graph)),
    }
    return Provider(
        "CUDAExecutionProvider", settings, device="cuda", device_id=options.device, cuda_graph=options.cuda_graph
    )


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = silent) -> Built:
    """Copy `folder / optimized.model` with its external data into `out`, open it and run it once.

    Raises:
        EngineError: ONNX Runtime cannot open or run the model, or a part of it would run on the CPU.
    """
    from compiler.engines.onnxruntime.building import build

    built = build(optimized, folder, out, _unrecorded(options), engine=name, provider=provider(_unrecorded(options)))
    return msgspec.structs.replace(built, options=options)


def serving(options: EngineOptions, plans: Sequence[Plan] = ()) -> Serving:
    """This engine; there is no choice."""
    return Serving(engine=name, version=version())


def open(model: Path, options: EngineOptions, plans: Sequence[Plan] = ()) -> Session:
    """Load an ONNX file for any number of concurrent callers.

    Raises:
        EngineUnavailableError: the GPU of `options.device` is not there.
        EngineError: ONNX Runtime refuses the model, could not load CUDA, or would run a part of it on the CPU.
    """
    from compiler.engines.onnxruntime.session import OnnxRuntimeSession

    ready(options)
    return OnnxRuntimeSession(model, options, provider(options))


def describe(model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
    """Which kernel every node really ran with, from one profiled call.

    Raises:
        EngineError: the model cannot be opened or run, or a part of it ran on the CPU.
    """
    from compiler.engines.onnxruntime.placement import describe

    return describe(model, options, feeds, provider(_unrecorded(options)))


def watch(
    model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The tensors that leave each of these modules, for one call of the model; see `Engine.watch`.

    Raises:
        EngineError: the model cannot be opened or run.
    """
    from compiler.engines.onnxruntime.layer_outputs import watch

    return watch(model, options, modules, feeds, provider(_unrecorded(options)))


def precisions(model: Path, modules: Sequence[str]) -> dict[str, str]:
    """What each module's products with weights compute in; see `Engine.precisions`."""
    return onnxruntime_cpu.precisions(model, modules)


def _unrecorded(options: EngineOptions) -> EngineOptions:
    """One call is not worth recording."""
    return msgspec.structs.replace(options, cuda_graph=False)
