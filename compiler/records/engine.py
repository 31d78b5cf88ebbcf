"""An engine on disk, and what really runs in it."""

from __future__ import annotations

from compiler.records.base import SCHEMA_VERSION, Record


class Placement(Record, frozen=True):
    """Nodes that ran with one operator, device and precision, counted, and their share of the time of one call.

    `provider` is the engine's word for the device code. `precision` is what the kernel computes with ("float32",
    "int8", "int4 weights", ...), `modules` names checkpoint modules they came from (at most a few, for a person),
    `graph` is "encoder" for the first of the two graphs of an encoder-decoder; each graph's shares add up to 1.
    """

    operator: str
    provider: str
    precision: str
    count: int
    time_share: float = 0.0
    modules: tuple[str, ...] = ()
    graph: str = ""


class EngineOptions(Record, frozen=True):
    """What a session is opened with. `threads` 0 means every physical core of the machine that runs it."""

    threads: int = 0
    spinning: bool = True


class Built(Record, frozen=True):
    """An engine on disk. `files` are relative to the record's folder; `model` is the one to open."""

    engine: str
    engine_version: str
    model: str
    files: tuple[str, ...]
    options: EngineOptions
    placement: tuple[Placement, ...]
    seconds: float
    schema_version: int = SCHEMA_VERSION
