"""What an evaluation on a user's data found."""

from __future__ import annotations

from typing import Literal

from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.proof import Finding, Machine

COSTS = frozenset({"ms", "items/s", "tokens/s", "bytes"})  # units of what answers cost


class Metric(Record, frozen=True):
    """One metric of one system, with its 95 % confidence interval.

    `items` are the scores of single items in the data's order, which count by their `weights` (equally without any);
    empty where only the whole has a score. Then `draws` are the scores of resampled items (bootstrap), or of all but
    one in turn (jackknife): of every system that is evaluated on these items the same ones, so that they can be paired.
    """

    name: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    low: float
    high: float
    samples: int
    items: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    draws: tuple[float, ...] = ()
    drawn: Literal["bootstrap", "jackknife"] = "bootstrap"

    @property
    def is_cost(self) -> bool:
        """Whether it says what answers cost, and nothing of how good they are."""
        return self.unit in COSTS


class System(Record, frozen=True):
    """What was evaluated: a bundle, or the PyTorch reference. `answers` are one an item: labels, or texts if wanted."""

    name: str
    location: str
    digest: str
    metrics: tuple[Metric, ...]
    answers: tuple[str, ...] = ()


class Evaluated(Record, frozen=True):
    """All systems on the same items. `data_digest` is the SHA-256 of the items that were used, in their order.

    `rows` are the rows of the data that these are, from 0.
    `findings` say whether the bundle gives more away than the reference does.
    """

    task: str
    data: str
    data_digest: str
    items: int
    seed: int
    systems: tuple[System, ...]
    machine: Machine
    seconds: float
    findings: tuple[Finding, ...] = ()
    rows: tuple[int, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.rows and len(self.rows) != self.items:
            raise ValueError(f"{self.items} items with {len(self.rows)} rows")
        if most := max((len(system.answers) for system in self.systems if len(system.answers) > self.items), default=0):
            raise ValueError(f"{self.items} items with {most} answers")
