"""A worker like `compiler.measure.worker` whose every call takes a share longer: it spins."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from compiler.engines import Decoding, Feeds, Session
from compiler.measure import worker
from compiler.measure.process import Worker
from compiler.measure.protocol import Spec
from compiler.records import CacheShape

R = TypeVar("R")

SHARE = "GATE_TRIALS_SLOWER"  # environment variable


class SlowedWorker(Worker):
    """The process of this module in place of the usual one."""

    program = "gate_trials.slowed"


class Slowed:
    """A session, slower by `share` of each of its calls."""

    def __init__(self, session: Session, share: float) -> None:
        self._session = session
        self._share = share

    def run(self, feeds: Feeds) -> Feeds:
        return stretched(self._share, lambda: self._session.run(feeds))

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        slowed = SlowedDecoding(self._session.decode(cache, batch, capacity, constants), self._share)
        return cast("Decoding", slowed)

    def close(self) -> None:
        self._session.close()


class SlowedDecoding:
    """A decoding, slower by `share` of each step."""

    def __init__(self, decoding: Decoding, share: float) -> None:
        self._decoding = decoding
        self._share = share

    def step(self, *arguments: Any) -> Any:
        return stretched(self._share, lambda: self._decoding.step(*arguments))


def stretched(share: float, call: Callable[[], R]) -> R:
    start = time.perf_counter()
    result = call()
    end = start + (time.perf_counter() - start) * (1 + share)
    while time.perf_counter() < end:
        pass
    return result


def main() -> None:
    open_runner = worker.open_runner

    def open_slowed(spec: Spec) -> tuple[Any, str, str]:
        session, name, version = open_runner(spec)
        return Slowed(session, float(os.environ[SHARE])), name, version

    worker.open_runner = open_slowed
    worker.main()


if __name__ == "__main__":
    main()
