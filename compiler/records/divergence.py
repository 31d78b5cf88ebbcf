"""Where an engine's answers begin to differ from the reference's."""

from __future__ import annotations

from compiler.figures import beside, exact
from compiler.records.base import SCHEMA_VERSION, Record


class Layer(Record, frozen=True):
    """One module's output, engine against reference, at real tokens.

    `error` is what `Diverged.measure` says (None: the engine gives NaN or infinity), and `noise` the same between
    PyTorch in float32 and in float64. `scale` is what the error is to be seen against: the largest absolute value, or
    1 where it is a share already. `samples` are the values that were compared. `limit` is what `error` may be (None:
    shown, not judged). `precision` is what the module's products with weights compute in.
    """

    module: str
    error: float | None
    scale: float
    noise: float
    samples: int
    limit: float | None
    precision: str = ""

    @property
    def shown(self) -> str:
        """The error for a person, beside the limit."""
        if self.error is None:
            return "NaN or infinity"
        return f"{self.error:.4g}" if self.limit is None else beside(self.error, self.limit)[0]

    @property
    def shown_limit(self) -> str:
        """The limit for a person; empty where there is none."""
        if self.limit is None:
            return ""
        return exact(self.limit) if self.error is None else beside(self.error, self.limit)[1]

    @property
    def passed(self) -> bool:
        return self.limit is None or (self.error is not None and self.error <= self.limit)

    @property
    def relative(self) -> float | None:
        """The error over its scale."""
        return None if self.error is None else self.error / self.scale if self.scale else self.error


class Diverged(Record, frozen=True):
    """The growth of the error from layer to layer, in the order of execution.

    `first` is the first layer outside its limit, by its module path in the checkpoint; None: there is none. `within`
    are the modules inside that layer, in the order in which they finish, and `culprit` the first of them outside its
    limit; with a quantized engine they are not judged. `skipped` are the layers that the engine has no tensor for.
    `measure` says what an error is, `basis` where the limits come from.
    `location` is the bundle.
    """

    precision: str
    first: str | None
    culprit: str | None
    layers: tuple[Layer, ...]
    within: tuple[Layer, ...]
    skipped: tuple[str, ...]
    measure: str
    basis: str
    seconds: float
    location: str = ""
    schema_version: int = SCHEMA_VERSION
