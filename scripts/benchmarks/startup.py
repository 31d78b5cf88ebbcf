"""How long a user waits before anything happens."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figure import Figure, measured
from benchmarks.process import OWN_PYTHON, seconds_of

RUNS = 11


def figures() -> Iterator[Figure]:
    command = [str(OWN_PYTHON.with_name("compile")), "--help"]
    yield measured("compile --help", [seconds_of(command) for _ in range(RUNS)], "s", target=0.25)
    # The interpreter's own start is not ours: it is measured beside it and taken off.
    python = str(OWN_PYTHON)
    pairs = [(seconds_of([python, "-c", "import compiler"]), seconds_of([python, "-c", "pass"])) for _ in range(RUNS)]
    samples = [max(0.0, ours - empty) for ours, empty in pairs]
    yield measured("import compiler", samples, "s", target=0.1, raw={"pairs": pairs})
