"""Open a model and run it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from compiler.engines import Decoding, Feeds
from compiler.engines.onnxruntime_cpu.decoding import ConcatenatedDecoding, SharedDecoding
from compiler.engines.onnxruntime_cpu.recompute import RecomputeDecoding
from compiler.errors import EngineError
from compiler.machine import detect
from compiler.records import CacheShape, EngineOptions

PROVIDERS = ["CPUExecutionProvider"]
NATIVE_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)
_SILENT = 4  # ONNX Runtime's "fatal": its errors reach the caller as exceptions


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn ONNX Runtime's own exceptions into an EngineError about `what`."""
    try:
        yield
    except NATIVE_ERRORS as error:
        raise EngineError(f"ONNX Runtime {what}", found=str(error).strip()) from error


def session_options(options: EngineOptions) -> Any:
    """An `onnxruntime.SessionOptions`; every optimization on, nothing logged."""
    native_options = onnxruntime.SessionOptions()
    native_options.intra_op_num_threads = options.threads or detect().physical_cores
    native_options.inter_op_num_threads = 1
    native_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    native_options.enable_mem_pattern = False  # it remembers every new shape for ever, and gains nothing here
    native_options.log_severity_level = _SILENT
    native_options.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    return native_options


class OnnxRuntimeSession:
    """A `Session` of compiler.engines."""

    def __init__(self, model: Path, options: EngineOptions) -> None:
        with explained(f"cannot open {model}"):
            self._native = onnxruntime.InferenceSession(str(model), session_options(options), providers=PROVIDERS)
        self._outputs = [output.name for output in self._native.get_outputs()]

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs by name.

        Raises:
            EngineError: the model fails on these feeds.
        """
        try:
            values = self._native.run(self._outputs, feeds)
        except NATIVE_ERRORS as error:
            raise EngineError("ONNX Runtime failed to run the model", found=str(error).strip()) from error
        return dict(zip(self._outputs, values, strict=True))

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        if cache.layout == "none":
            return RecomputeDecoding(self, batch, capacity, constants or {})
        decoding = SharedDecoding if cache.layout == "shared" else ConcatenatedDecoding
        return decoding(self._native, cache, batch, capacity, constants or {})

    def close(self) -> None:
        """Free the model. Calls that are running finish first."""
        del self._native
