"""TensorRT 10.12 and later, 11, and TensorRT for RTX.

A bundle holds the ONNX model and, for each kind of GPU, plans built from it. Where none of them can run, ONNX Runtime
runs the model itself, and `serving` says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from compiler.engines import Feeds, Report, Session, silent
from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
from compiler.engines.tensorrt import identity
from compiler.records import Built, EngineOptions, Optimized, Placement, Plan, Serving

name, version = identity.name, identity.version


def why_unavailable() -> str | None:
    """None where ONNX Runtime can at least run the model itself."""
    return onnxruntime_cpu.why_unavailable()


def ready(options: EngineOptions) -> None:
    """Nothing where plans for all targets could be built here.

    Raises:
        EngineUnavailableError: no installed flavor serves a target, or the driver or GPU that it needs is missing.
    """
    from compiler.engines.tensorrt.builder.building import ready

    ready(options)


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = silent) -> Built:
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


def describe(model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
    """What runs where ONNX Runtime runs the model; a plan's layers are in its own record."""
    return onnxruntime_cpu.describe(model, options, feeds)


def watch(
    model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """See `Engine.watch`: of the model, as ONNX Runtime runs it."""
    return onnxruntime_cpu.watch(model, options, modules, feeds)


def precisions(model: Path, modules: Sequence[str]) -> dict[str, str]:
    """See `Engine.precisions`."""
    return onnxruntime_cpu.precisions(model, modules)
