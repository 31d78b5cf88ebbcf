"""Run a graph that is still in memory through ONNX Runtime, without writing its weights anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from compiler.engines.bfloat16 import in_float32
from compiler.errors import EngineError
from compiler.machine import detect, saturates

if TYPE_CHECKING:
    from compiler.optimize.passes.base import Feeds

INLINE_BYTES = 1024


class Executor:
    """Sessions over in-memory graphs. A weight is handed to ONNX Runtime as it lies in memory, once per tensor."""

    def __init__(self) -> None:
        self._shared: dict[int, tuple[ir.TensorProtocol, ort.OrtValue]] = {}

    def run(self, model: ir.Model, feeds: Sequence[Feeds]) -> list[Feeds]:
        """The outputs for every feed, with the graph exactly as it stands (no optimizer in between).

        8-bit products are exact, as on the machines that a pass makes them for, wherever this runs.

        Raises:
            EngineError: ONNX Runtime refuses the graph or fails on a feed.
        """
        return list(self.stream(model, feeds))

    def stream(self, model: ir.Model, feeds: Iterable[Feeds]) -> Iterator[Feeds]:
        """As `run`, one feed at a time, for outputs that are too large to keep."""
        try:
            session = self._session(model)
            names = [output.name for output in session.get_outputs()]
            for feed in feeds:
                yield dict(zip(names, session.run(names, feed), strict=True))
        except Exception as error:
            raise EngineError("onnxruntime cannot run the graph", found=str(error)) from error

    def _session(self, model: ir.Model) -> ort.InferenceSession:
        # These import the passes, some of which import this module.
        from compiler.optimize.unsigned import unsigned
        from compiler.optimize.widen import widened

        here = detect()
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # memory is given back between two nodes
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED  # the graph's own, so that little is kept waiting
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        skeleton = widened(model).clone()
        if saturates(here.architecture, here.features):
            unsigned(skeleton)
        weights = _detach(skeleton)
        values = {name: self._value(tensor) for name, tensor in weights.items()}
        used = {id(tensor) for tensor in weights.values()}
        self._shared = {key: kept for key, kept in self._shared.items() if key in used}
        options.add_external_initializers(list(values), list(values.values()))
        proto = ir.to_proto(skeleton)
        in_float32(proto)
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _value(self, tensor: ir.TensorProtocol) -> ort.OrtValue:
        if id(tensor) not in self._shared:
            self._shared[id(tensor)] = (tensor, _ort_value(tensor))
        return self._shared[id(tensor)][1]


def _ort_value(tensor: ir.TensorProtocol) -> ort.OrtValue:
    """The tensor where it lies. Of types that numpy lacks (bfloat16, float8) the bits are handed over."""
    array = np.ascontiguousarray(tensor.numpy())
    if array.dtype.isbuiltin == 1:
        return ort.OrtValue.ortvalue_from_numpy(array)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(f"u{array.itemsize}"), int(tensor.dtype))


def _detach(skeleton: ir.Model) -> dict[str, ir.TensorProtocol]:
    """The large weights of a graph by name; it is left with placeholders for them."""
    weights: dict[str, ir.TensorProtocol] = {}
    for name, value in skeleton.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= INLINE_BYTES or tensor.dtype.bitwidth < 8:
            if isinstance(tensor, ir.ExternalTensor):  # its file is not where the session would look for it
                value.const_value = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=name)
            continue
        weights[name] = tensor
        shape = ir.Shape(tensor.shape.numpy())
        value.const_value = ir.ExternalTensor("weights", 0, tensor.nbytes, tensor.dtype, shape=shape, name=name)
    return weights
