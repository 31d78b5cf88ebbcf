"""What was found about an engine: parity with the reference, and speed."""

from __future__ import annotations

from typing import Literal

import msgspec

from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.engine import Serving


class Finding(Record, frozen=True):
    """One comparison with the reference: `value` against `limit`, in `unit`, over `samples` items.

    `better` says on which side of the limit a passing value lies. `limit` None means shown, but not judged.
    """

    name: str
    value: float
    unit: str
    samples: int
    better: Literal["lower", "higher"]
    limit: float | None = None
    basis: str = ""

    @property
    def passed(self) -> bool:
        """False when outside the limit; NaN never passes a limit."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


class Checked(Record, frozen=True):
    """Parity with PyTorch float32. `reasons` are machine-readable codes, one for every finding outside its limit.

    `serving` is what answered.

    `adapters` holds what was found about each adapter that a request can choose; its reasons are "NAME: CODE".
    """

    precision: str
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    noise: float
    seconds: float
    adapters: dict[str, tuple[Finding, ...]] = msgspec.field(default_factory=dict)
    serving: Serving | None = None
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


class Measured(Record, frozen=True):
    engine: Runner
    reference: Runner | None
    machine: Machine
    seconds: float
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
