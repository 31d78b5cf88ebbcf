"""What a pass is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from compiler.records import Exported, Requires

Feeds = dict[str, np.ndarray]

QUANTIZERS = ("quantize-dynamic", "quantize-per-token", "quantize-static", "quantize-weights")
ANY_X86 = Requires(architecture="x86_64")


@dataclass(frozen=True)
class Context:
    """What a pass may know besides the graph.

    Attributes:
        exported: the portable model's record (kind, cache shape, context length).
        calibration: gives representative feeds of the graph's inputs, made on first use.
        target: what every machine that the graph is for has; no more may be relied on.
        rare: gives feeds of tokens that running text lacks, for what has to know how large numbers get.
    """

    exported: Exported
    calibration: Callable[[], Sequence[Feeds]]
    target: Requires = ANY_X86
    rare: Callable[[], Sequence[Feeds]] = tuple

    def widest(self) -> Sequence[Feeds]:
        """All feeds: what ranges are taken from."""
        return [*self.calibration(), *self.rare()]


@dataclass(frozen=True)
class Pass(ABC):
    """A rewrite of the graph. Subclasses are frozen dataclasses; their fields are the options a profile may set.

    `lossy` passes change numbers by design (quantization): the guard only checks that their outputs stay finite and
    keep their shapes; the accuracy budget judges the rest. `follows` names passes that come before it, where a profile
    has both.
    """

    name: ClassVar[str]
    lossy: ClassVar[bool] = False
    follows: ClassVar[tuple[str, ...]] = ()

    @property
    def formats(self) -> tuple[str, ...]:
        """Number formats beyond float32 that the pass writes and not every device computes with ("float8", ...)."""
        return ()

    @abstractmethod
    def apply(self, model: ir.Model, context: Context) -> bool:
        """Rewrite `model` in place and say truthfully whether anything changed."""
