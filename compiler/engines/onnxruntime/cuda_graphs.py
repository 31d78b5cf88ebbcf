"""CUDA graphs: the kernels of a call are recorded once and replayed, where shapes and memory stay the same.

ONNX Runtime records under a number that the caller gives to a call; -1 is a call that is not recorded.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from typing import Any

import onnxruntime

from compiler.engines import Feeds
from compiler.engines.onnxruntime.buffers import Buffer
from compiler.engines.onnxruntime.native import DTYPES
from compiler.engines.onnxruntime.provider import Provider

SHAPES_KEPT = 8  # of the calls that a session records; each holds its own inputs, outputs and kernels' memory
_numbers = itertools.count(1)


def run_options(number: int) -> Any:
    """An `onnxruntime.RunOptions` for a call that is recorded under this number."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options


NOT_RECORDED = run_options(-1)


class Recording:
    """A number to record a call under. What was recorded is given up with this object, where ONNX Runtime can."""

    def __init__(self, session: Any) -> None:
        number = next(_numbers)
        self.options = run_options(number)
        if hasattr(session, "release_captured_graph"):
            weakref.finalize(self, session.release_captured_graph, number).atexit = False


class Call:
    """One call of a model with inputs and outputs in memory of its own."""

    def __init__(self, session: Any, provider: Provider, feeds: Feeds) -> None:
        self._session = session
        self._recording = Recording(session)
        self._binding = session.io_binding()
        self._inputs = {name: Buffer.holding(array, provider) for name, array in feeds.items()}
        names = [output.name for output in session.get_outputs()]
        for name in names:
            self._binding.bind_output(name, provider.device, provider.device_id)
        self._run(NOT_RECORDED)  # its outputs tell their shapes
        self._outputs = {
            name: Buffer(value.shape(), DTYPES[value.data_type()], provider)
            for name, value in zip(names, self._binding.get_outputs(), strict=True)
        }
        for name, buffer in self._outputs.items():
            self._binding.bind_ortvalue_output(name, buffer.value)

    def __call__(self, feeds: Feeds) -> Feeds:
        for name, array in feeds.items():
            self._inputs[name].write(array)
        self._run(self._recording.options)
        return {name: buffer.read() for name, buffer in self._outputs.items()}

    def _run(self, options: Any) -> None:
        for name, buffer in self._inputs.items():  # anew: an input that is read on the CPU is copied as it is bound
            self._binding.bind_ortvalue_input(name, buffer.value)
        self._session.run_with_iobinding(self._binding, options)


class Calls:
    """Runs a session; a call whose shapes came before is recorded. One call at a time."""

    def __init__(self, session: Any, provider: Provider) -> None:
        self._session, self._provider = session, provider
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[tuple[str, tuple[int, ...]], ...], Call | None] = OrderedDict()

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs by name. Raises ONNX Runtime's own exceptions."""
        shapes = tuple((name, array.shape) for name, array in sorted(feeds.items()))
        with self._lock:
            seen = shapes in self._known
            call = self._known.get(shapes)
            if call is None and seen:
                call = Call(self._session, self._provider, feeds)
            self._known[shapes] = call
            self._known.move_to_end(shapes)
            if len(self._known) > SHAPES_KEPT:
                self._known.popitem(last=False)
            if call is not None:
                return call(feeds)
            names = [output.name for output in self._session.get_outputs()]
            return dict(zip(names, self._session.run(names, feeds, NOT_RECORDED), strict=True))
