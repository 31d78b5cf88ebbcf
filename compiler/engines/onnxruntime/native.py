"""ONNX Runtime's own session: its options, its errors, and no silent way back to the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from compiler.engines.bfloat16 import readable
from compiler.engines.onnxruntime.placement_guard import refuse_assigned, refuse_unloaded
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.errors import EngineError
from compiler.machine import detect, saturates, threads
from compiler.records import EngineOptions

NATIVE_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)
DTYPES: dict[str, np.dtype] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(bool)": np.dtype(np.bool_),
}
_EXACT = "session.x64quantprecision"  # weights of 8 bits become uint8: kernels that cannot overflow, and are slower
os.environ["ORT_LOAD_CONFIG_FROM_MODEL"] = "0"  # a graph could ask for a million threads
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
    here = detect()
    native_options = onnxruntime.SessionOptions()
    native_options.intra_op_num_threads = threads(options.threads)
    native_options.inter_op_num_threads = 1
    native_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    native_options.enable_mem_pattern = False  # it remembers every new shape for ever, and gains nothing here
    native_options.log_severity_level = _SILENT
    native_options.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    # It drops a Relu before a QuantizeLinear of float8, whose codes hold negative numbers as well.
    native_options.add_session_config_entry("optimization.disable_specified_optimizers", "ReluQuantRewrite")
    if saturates(here.architecture, here.features):
        native_options.add_session_config_entry(_EXACT, "1")
    return native_options


def _open(model: str | bytes, native_options: Any, provider: Provider) -> Any:
    """A session; on the CPU, which has no kernels for it, bfloat16 is computed in float32."""

    def opened(model: str | bytes) -> Any:
        return onnxruntime.InferenceSession(model, native_options, providers=provider.chain, enable_fallback=0)

    try:
        return opened(model)
    except native.NotImplemented:
        other = readable(model, native_options) if provider.name == CPU.name else None
        if other is None:
            raise
        return opened(other)
    except native.Fail as error:
        if "AddInitializedOrtValue" not in str(error) or not saturates(detect().architecture, detect().features):
            raise
        raise EngineError(  # ONNX Runtime would make the weight uint8 once for each product, under one name
            "8-bit weights that several products share cannot be multiplied exactly here",
            found="a processor without VNNI",
            expected="7-bit weights, or a processor with VNNI",
            action="build the model for this machine: --profile auto",
        ) from error


def open_native(
    model: str | bytes, native_options: Any, provider: Provider = CPU, modules: Mapping[str, str] | None = None
) -> Any:
    """An `onnxruntime.InferenceSession` that runs with this provider and with no other.

    ONNX Runtime itself prints a warning and goes on with the CPU, when it opens a model and again when a call fails.

    Args:
        model: a path, or a model's bytes.
        modules: of the checkpoint, by the names of nodes; for messages.

    Raises:
        EngineError: the provider, or one behind it, was not loaded, or left computation to the CPU.
        Exception: ONNX Runtime's own; see `explained`.
    """
    if provider.name != CPU.name:
        native_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    refuse_unloaded(provider, onnxruntime.get_available_providers())
    session = _open(model, native_options, provider)
    refuse_unloaded(provider, session.get_providers())
    if provider.name != CPU.name:
        refuse_assigned(session, provider, modules or {})
    return session
