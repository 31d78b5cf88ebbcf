"""ONNX Runtime's TensorRT provider: it compiles the graph with TensorRT 10, and CUDA runs what TensorRT leaves.

The compiled engines are for one GPU and one version of TensorRT, and they are executable code. `build` makes them and
puts them into the bundle with their digests; `open` takes those and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from compiler.engines import Feeds, Report, Session, silent
from compiler.engines.onnxruntime import cuda as onnxruntime_cuda
from compiler.engines.onnxruntime.tensorrt import identity
from compiler.records import Built, EngineOptions, Optimized, Placement, Plan, Serving

name, version = identity.name, identity.version


def why_unavailable() -> str | None:
    """None where there is a GPU with its driver, an ONNX Runtime with this provider, and TensorRT 10."""
    from compiler.engines.onnxruntime.installed import why_without
    from compiler.engines.onnxruntime.tensorrt.installed import PROVIDER, why_no_library

    return onnxruntime_cuda.why_unavailable() or why_without(PROVIDER) or why_no_library()


def ready(options: EngineOptions) -> None:
    """Nothing where the GPU of `options.device` is there.

    Raises:
        EngineUnavailableError: it is not.
    """
    onnxruntime_cuda.ready(options)


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = silent) -> Built:
    """Copy the model into `out`, and compile every graph of it for this machine's GPU and the shapes of `options`.

    Raises:
        ProfileError: a mistake in the shapes.
        EngineError: TensorRT takes nothing of a graph, or a part of it would run on the CPU.
    """
    from compiler.engines.onnxruntime.tensorrt.building import build

    return build(optimized, folder, out, options, report)


def serving(options: EngineOptions, plans: Sequence[Plan] = ()) -> Serving:
    """This engine; there is no choice."""
    return Serving(engine=name, version=version())


def open(model: Path, options: EngineOptions, plans: Sequence[Plan] = ()) -> Session:
    """Open a graph with its engines, after their digest was compared.

    Raises:
        IntegrityError: the engines are not those that were built.
        EngineUnavailableError: they were built for another GPU or another version of TensorRT.
        EngineError: ONNX Runtime refuses the model, or would not take the engines.
    """
    from compiler.engines.onnxruntime.tensorrt.opening import open_verified

    ready(options)
    return open_verified(model, options, plans)


def describe(model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
    """How CUDA alone runs the model; what TensorRT takes of it is in the record of the build."""
    return onnxruntime_cuda.describe(model, options, feeds)


def watch(
    model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """See `Engine.watch`: as CUDA alone computes it, for TensorRT's engines have no tensors between layers."""
    return onnxruntime_cuda.watch(model, options, modules, feeds)


def precisions(model: Path, modules: Sequence[str]) -> dict[str, str]:
    """See `Engine.precisions`."""
    return onnxruntime_cuda.precisions(model, modules)
