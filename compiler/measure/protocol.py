"""What a measurement asks of its workers, and what they answer; see `compiler.workers`.

First a Spec, answered by Loaded once the model is open; then any number of Rounds, each by Samples.
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
