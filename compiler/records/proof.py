"""What was found about an engine: parity with the reference, and speed."""

from __future__ import annotations

from typing import Literal

import msgspec

from compiler.figures import beside
from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.engine import Serving

# "float64": the reference in float32 beside float64. "reorderings": float32 beside float32 in other orders.
NoiseSource = Literal["float64", "reorderings"]


class Finding(Record, frozen=True):
    """One comparison with the reference: `value` against `limit`, in `unit`, over `samples` items.

    `better` says on which side of the limit a passing value lies. `limit` None means shown, but not judged. `low` and
    `high` bound what more samples of the kind would give, where the value is a share of a few; all of that interval
    has to be on the passing side.
    """

    name: str
    value: float
    unit: str
    samples: int
    better: Literal["lower", "higher"]
    limit: float | None = None
    basis: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def shown(self) -> str:
        """The value for a person, beside the limit."""
        return f"{self.value:.4g}" if self.limit is None else beside(self.value, self.limit)[0]

    @property
    def shown_limit(self) -> str:
        """The limit for a person; empty where there is none."""
        return "" if self.limit is None else beside(self.value, self.limit)[1]

    @property
    def passed(self) -> bool:
        """False when outside the limit or undecided; NaN never passes a limit."""
        if self.limit is None:
            return True
        if self.better == "lower":
            return (self.value if self.high is None else self.high) <= self.limit
        return (self.value if self.low is None else self.low) >= self.limit

    @property
    def undecided(self) -> bool:
        """Whether the limit lies within the interval: there are too few samples to tell."""
        if self.limit is None or self.low is None or self.high is None:
            return False
        return not self.passed and self.low <= self.limit <= self.high


class Checked(Record, frozen=True):
    """Parity with PyTorch float32. `reasons` are machine-readable codes, one for every finding outside its limit.

    `serving` is what answered.

    `adapters` holds what was found about each adapter that a request can choose; its reasons are "NAME: CODE". A
    finding that too few texts left open is "CODE: undecided". `noise` is PyTorch's own, as the largest absolute
    difference of an output, and `noise_source` how it was found. `context` is the number of tokens of the longest text
    that was compared.
    """

    precision: str
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    noise: float
    seconds: float
    adapters: dict[str, tuple[Finding, ...]] = msgspec.field(default_factory=dict)
    serving: Serving | None = None
    noise_source: NoiseSource = "float64"
    context: int = 0
    schema_version: int = SCHEMA_VERSION

    @property
    def passed(self) -> bool:
        return not self.reasons


class Series(Record, frozen=True):
    """Raw samples of one measurement. `unit` is "ms", "tokens/s", "sentences/s"; statistics are derived, not stored."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    samples: tuple[float, ...]


class Runner(Record, frozen=True):
    """One runner (our engine, or PyTorch eager), measured in a process of its own."""

    name: str
    version: str
    threads: int
    series: tuple[Series, ...]
    load_seconds: float
    peak_memory_bytes: int
    disk_bytes: int


class Unsteady(Record, frozen=True):
    """A series whose samples lie too far apart for its median to be relied on.

    `spread` is the distance of the quartiles over the median, `drift` by how much the median of the second half is
    above or below that of the first, over the smaller of the two.
    """

    runner: str
    series: str
    spread: float
    drift: float

    @property
    def text(self) -> str:
        return f"{self.series} of {self.runner} (spread {self.spread:.0%}, second half {self.drift:+.0%})"


class Measured(Record, frozen=True):
    """`unsteady` names the series that other work on the machine disturbed."""

    engine: Runner
    reference: Runner | None
    machine: Machine
    seconds: float
    unsteady: tuple[Unsteady, ...] = ()
    schema_version: int = SCHEMA_VERSION


class Gpu(Record, frozen=True):
    """An NVIDIA GPU. `compute_capability` is as in "8.9", `driver` the CUDA version that the driver offers."""

    name: str
    compute_capability: str
    memory_bytes: int
    driver: str


class Machine(Record, frozen=True):
    """The machine a record was made on, as far as it decides speed and rounding."""

    cpu: str
    architecture: str
    features: tuple[str, ...]
    physical_cores: int
    logical_cores: int
    memory_bytes: int
    system: str
    python: str
    gpus: tuple[Gpu, ...] = ()
