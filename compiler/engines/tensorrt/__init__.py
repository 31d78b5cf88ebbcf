"""TensorRT 10.12 and later, 11, and TensorRT for RTX.

A bundle holds the ONNX model and, for each kind of GPU, plans built from it. Where none of them can run, ONNX Runtime
runs the model itself, and `serving` says why.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from compiler.engines import PlanBuilding, Session
from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
from compiler.engines.tensorrt import identity
from compiler.progress import Report, unreported
from compiler.records import Built, EngineOptions, Optimized, Plan, Serving

name, version = identity.name, identity.version
plans: PlanBuilding = "ahead"
# Of the model, which ONNX Runtime can always run; a plan's own layers are in its record.
why_unavailable, describe = onnxruntime_cpu.why_unavailable, onnxruntime_cpu.describe
watch, precisions = onnxruntime_cpu.watch, onnxruntime_cpu.precisions


def why_not_whole() -> str | None:
    """None where plans can have device memory."""
    from compiler.engines.tensorrt.runtime.choosing import why_no_bindings

    return why_no_bindings()


def ready(options: EngineOptions, formats: Collection[str] = ()) -> None:
    """Raise unless plans for all targets can be built here.

    Raises:
        EngineUnavailableError: no installed flavor serves a target, the driver or GPU that it needs is missing, or a
            target cannot use one of the formats.
    """
    from compiler.engines.tensorrt.builder.building import ready

    ready(options, formats)


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = unreported) -> Built:
    """Copy the model into `out`, and build a plan of every graph for every target.

    Raises:
        EngineUnavailableError: see `ready`, or the model has numbers of a format that a target cannot compute with.
        EngineError: TensorRT refuses the model; the message names the node and its module in the checkpoint.
    """
    from compiler.engines.tensorrt.builder.building import build

    return build(optimized, folder, out, options, report)


def serving(options: EngineOptions, plans: Sequence[Plan] = ()) -> Serving:
    """The plan that fits this machine's GPU, or ONNX Runtime, and why."""
    from compiler.engines.tensorrt.runtime.choosing import choose

    return choose(options, plans).serving


def open(model: Path, options: EngineOptions, plans: Sequence[Plan] = ()) -> Session:
    """Open what `serving` names. A plan's digest is compared before anything reads it.

    Raises:
        IntegrityError: the plan is not the file that was built.
        EngineError: the plan or the model cannot be opened.
    """
    from compiler.engines.tensorrt.runtime.choosing import open_chosen

    return open_chosen(model, options, plans)
