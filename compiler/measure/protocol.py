"""What a measurement and its workers say to each other: one record a line, as JSON.

measurement                 worker
Spec            ──────▶     opens the model
                ◀──────     Loaded
Round           ──────▶     runs one workload       (any number of times)
                ◀──────     Samples
end of input    ──────▶
                ◀──────     Usage, then it exits
"""

from __future__ import annotations

from typing import Literal

from compiler.records import Manifest, Record


class Spec(Record, frozen=True):
    """Whom to measure. `folder` holds the engine's files, or the checkpoint for PyTorch."""

    runner: Literal["engine", "pytorch"]
    folder: str
    manifest: Manifest
    threads: int


class Loaded(Record, frozen=True):
    """`seconds` from the start of the worker's work to an open model, its libraries' import included."""

    name: str
    version: str
    seconds: float


class Round(Record, frozen=True):
    """Run the workload of this name once; see `workloads`."""

    workload: str


class Samples(Record, frozen=True):
    """Milliseconds by series name."""

    series: dict[str, tuple[float, ...]]


class Usage(Record, frozen=True):
    """The most memory the worker ever held (resident)."""

    peak_memory_bytes: int
