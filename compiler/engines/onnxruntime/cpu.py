"""ONNX Runtime on the CPU.

The model file is ONNX itself: the engine optimizes it further whenever it is opened, for the CPU it finds.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection

from compiler.engines import PlanBuilding
from compiler.engines.onnxruntime.engine import OnnxRuntime
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.records import EngineOptions

name = "onnxruntime-cpu"
plans: PlanBuilding = "none"


def why_unavailable() -> str | None:
    """None when onnxruntime can be imported, otherwise why not and the command that installs it."""
    try:
        importlib.import_module("onnxruntime")
    except ImportError as error:
        return f"{error}; install it with: pip install onnxruntime"
    return None


why_not_whole = why_unavailable


def ready(options: EngineOptions, formats: Collection[str] = ()) -> None:
    """See `Engine.ready`: whatever can be opened here can be built here."""


def provider(options: EngineOptions) -> Provider:
    """The CPU's."""
    return CPU


_shared = OnnxRuntime(name, provider, ready)
version, serving, build, open = _shared.version, _shared.serving, _shared.build, _shared.open
describe, watch, precisions = _shared.describe, _shared.watch, _shared.precisions
