"""Shared by the workers, which run in different environments: standard library only."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def arguments() -> dict[str, Any]:
    """What the parent asked for: one JSON object on the command line."""
    return json.loads(sys.argv[1])


def answer(**values: Any) -> None:
    """What the parent reads: the last line on stdout."""
    print("\n" + json.dumps(values))


def samples_ms(call: Callable[[], object], seconds: float, warmup: int = 5, at_least: int = 10) -> list[float]:
    """Milliseconds of every call, for about that many seconds after the warm-up."""
    for _ in range(warmup):
        call()
    samples: list[float] = []
    started = time.perf_counter()
    while len(samples) < at_least or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        call()
        samples.append((time.perf_counter() - before) * 1e3)
    return samples
