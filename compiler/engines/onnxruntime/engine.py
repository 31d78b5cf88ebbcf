"""What ONNX Runtime's engines have in common: all of `compiler.engines.Engine` that depends on the provider alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from compiler.engines import Feeds, Session, onnx_file
from compiler.progress import Report, unreported
from compiler.records import Built, EngineOptions, Optimized, Placement, Plan, Serving

if TYPE_CHECKING:
    from compiler.engines.onnxruntime.provider import Provider


@dataclass(frozen=True)
class OnnxRuntime:
    """Functions of an engine whose model file is ONNX itself; nothing is imported before one of them is called.

    Attributes:
        name: of the engine.
        provider: what a session with these options runs on.
        ready: see `Engine.ready`; asked whenever a model is opened.
    """

    name: str
    provider: Callable[[EngineOptions], Provider]
    ready: Callable[[EngineOptions], None]

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def build(
        self, optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = unreported
    ) -> Built:
        """Copy `folder / optimized.model` with its external data into `out`, open it and run it once.

        Raises:
            EngineError: ONNX Runtime cannot open or run the model; the message holds its reason.
        """
        from compiler.engines.onnxruntime.building import build

        return build(optimized, folder, out, options, engine=self.name, provider=self._once(options))

    def serving(self, options: EngineOptions, plans: Sequence[Plan] = ()) -> Serving:
        """This engine; there is no choice."""
        return Serving(engine=self.name, version=self.version())

    def open(self, model: Path, options: EngineOptions, plans: Sequence[Plan] = ()) -> Session:
        """Load an ONNX file for any number of concurrent callers.

        Raises:
            EngineUnavailableError: see `Engine.ready`.
            EngineError: ONNX Runtime refuses the model, or would run a part of it elsewhere.
        """
        from compiler.engines.onnxruntime.session import OnnxRuntimeSession

        self.ready(options)
        return OnnxRuntimeSession(model, options, self.provider(options))

    def describe(self, model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
        """Which kernel every node really ran with, from one profiled call.

        Raises:
            EngineError: the model cannot be opened or run, or a part of it ran elsewhere.
        """
        from compiler.engines.onnxruntime.placement import describe

        return describe(model, options, feeds, self._once(options))

    def watch(
        self, model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds
    ) -> Iterator[tuple[str, list[np.ndarray]]]:
        """The tensors that leave each of these modules, for one call of the model; see `Engine.watch`.

        Raises:
            EngineError: the model cannot be opened or run.
        """
        from compiler.engines.onnxruntime.layer_outputs import watch

        return watch(model, options, modules, feeds, self._once(options))

    def precisions(self, model: Path) -> dict[str, str]:
        """See `Engine.precisions`. Raises EngineError where it is not an ONNX file."""
        return onnx_file.precisions(model)

    def _once(self, options: EngineOptions) -> Provider:
        """The provider for a single call, which CUDA graphs do not record."""
        return self.provider(msgspec.structs.replace(options, cuda_graph=False))
