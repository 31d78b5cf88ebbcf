"""ONNX Runtime on the CPU.

The model file is ONNX itself: the engine optimizes it further whenever it is opened, for the CPU it finds. The modules
here serve the other ONNX Runtime engines too, which differ in their `Provider`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from compiler.engines import Feeds, Report, Session, silent
from compiler.records import Built, EngineOptions, Optimized, Placement, Plan, Serving

name = "onnxruntime-cpu"


def version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def why_unavailable() -> str | None:
    """None when onnxruntime can be imported, otherwise why not and the command that installs it."""
    try:
        importlib.import_module("onnxruntime")
    except ImportError as error:
        return f"{error}; install it with: pip install onnxruntime"
    return None


def ready(options: EngineOptions) -> None:
    """Whatever can be opened here can be built here."""


def serving(options: EngineOptions, plans: Sequence[Plan] = ()) -> Serving:
    """This engine; there is no choice."""
    return Serving(engine=name, version=version())


def open(model: Path, options: EngineOptions, plans: Sequence[Plan] = ()) -> Session:
    """Load an ONNX file for any number of concurrent callers.

    Raises:
        EngineError: ONNX Runtime refuses the model; the message holds its reason.
    """
    from compiler.engines.onnxruntime.session import OnnxRuntimeSession

    return OnnxRuntimeSession(model, options)


def describe(model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
    """Which kernel every node really ran with, from one profiled call.

    Raises:
        EngineError: the model cannot be opened or run.
    """
    from compiler.engines.onnxruntime.placement import describe

    return describe(model, options, feeds)


def watch(
    model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The tensors that leave each of these modules, for one call of the model; see `Engine.watch`.

    Raises:
        EngineError: the model cannot be opened or run.
    """
    from compiler.engines.onnxruntime.layer_outputs import watch

    return watch(model, options, modules, feeds)


def precisions(model: Path, modules: Sequence[str]) -> dict[str, str]:
    """What each module's products with weights compute in; see `Engine.precisions`.

    Raises:
        EngineError: not an ONNX file.
    """
    from compiler.engines.onnxruntime.layer_outputs import precisions

    return precisions(model, modules)


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = silent) -> Built:
    """Copy `folder / optimized.model` with its external data into `out`, open it and run it once.

    Raises:
        EngineError: ONNX Runtime cannot open or run the model; the message holds its reason.
    """
    from compiler.engines.onnxruntime.building import build

    return build(optimized, folder, out, options)
