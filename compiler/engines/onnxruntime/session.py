"""Open a model and run it."""

from __future__ import annotations

from pathlib import Path

from compiler.engines import Decoding, Feeds
from compiler.engines.onnxruntime.cuda_graphs import Calls
from compiler.engines.onnxruntime.decoding import ConcatenatedDecoding, SharedDecoding
from compiler.engines.onnxruntime.mapping import detach
from compiler.engines.onnxruntime.native import NATIVE_ERRORS, explained, open_native, session_options
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.engines.recompute import RecomputeDecoding
from compiler.errors import EngineError
from compiler.records import CacheShape, EngineOptions


class OnnxRuntimeSession:
    """A `Session` of compiler.engines."""

    def __init__(self, model: Path, options: EngineOptions, provider: Provider = CPU) -> None:
        with explained(f"cannot open {model}"):
            self._native = open_native(str(model), session_options(options), provider)
        detach(model.parent)
        self._provider = provider
        self._outputs = [output.name for output in self._native.get_outputs()]
        self._calls = Calls(self._native, provider) if provider.cuda_graph else None

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs by name.

        Raises:
            EngineError: the model fails on these feeds.
        """
        try:
            if self._calls is not None:
                return self._calls.run(feeds)
            values = self._native.run(self._outputs, feeds)
        except NATIVE_ERRORS as error:
            raise EngineError("ONNX Runtime failed to run the model", found=str(error).strip()) from error
        return dict(zip(self._outputs, values, strict=True))

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        if cache.layout == "none":
            return RecomputeDecoding(self, batch, capacity, constants or {})
        decoding = SharedDecoding if cache.layout == "shared" else ConcatenatedDecoding
        return decoding(self._native, self._provider, cache, batch, capacity, constants=constants or {})

    def close(self) -> None:
        """Free the model. Calls that are running finish first."""
        self._calls = None
        del self._native
