"""ONNX Runtime's TensorRT provider: it compiles the graph with TensorRT 10, and CUDA runs what TensorRT leaves.

The compiled engines are for one GPU and one version of TensorRT, and they are executable code. `build` makes them and
puts them into the bundle with their digests; `open` takes those and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compiler.engines import PlanBuilding, Session
from compiler.engines.onnxruntime import cuda
from compiler.engines.onnxruntime.installed import why_without
from compiler.engines.onnxruntime.tensorrt import identity
from compiler.engines.onnxruntime.tensorrt.installed import PROVIDER, why_no_library
from compiler.progress import Report, unreported
from compiler.records import Built, EngineOptions, Optimized, Plan, Serving

name, version = identity.name, identity.version
plans: PlanBuilding = "here"
# As CUDA alone runs the model: what TensorRT takes of it, its engines do not show.
ready, describe, watch, precisions = cuda.ready, cuda.describe, cuda.watch, cuda.precisions


def why_unavailable() -> str | None:
    """None where there is a GPU with its driver, an ONNX Runtime with this provider, and TensorRT 10."""
    return cuda.why_unavailable() or why_without(PROVIDER) or why_no_library()


why_not_whole = why_unavailable


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = unreported) -> Built:
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
