"""What must hold for a reader, whatever it is given: a result or an error of this project, soon, in little memory."""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compiler.checkpoint.quiet import quiet
from compiler.errors import CompilerError
from tests.fuzz.mutate import DRAWN, Cases, Dice

LONGEST = 5.0  # seconds of the processor for one case
WAITING = 6  # times as long by the clock, since a busy machine lets a process wait
CASES = int(os.environ.get("FUZZ_CASES", "0"))  # for every reader, in place of its own number

BATCH = 10  # cases out of one draw of hypothesis, which takes a third of a millisecond, as much as many a case
MEMORY_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # Linux has one


class Endless(BaseException):
    """A case took too long. No `except Exception` may hide it."""


@dataclass(frozen=True)
class Reader:
    """Something that reads what others made.

    Attributes:
        name: for a person.
        codes: the exit codes that its errors may have.
        cases: what it is given.
        prepare: makes what it needs in an empty folder, and gives the function that reads one case.
        cost: milliseconds of a case, about.
        suite: cases that the suite tries: fewer where they build whole models.
    """

    name: str
    codes: frozenset[int]
    cases: Cases
    prepare: Callable[[Path], Callable[[Any], object]]
    cost: float = 0.5
    suite: int = 2000

    def check(self) -> None:
        """Raise for the first of hypothesis' cases after which the property does not hold."""
        with quiet(), scratch() as folder:
            read = self.prepare(folder)

            @settings(
                max_examples=-(-(CASES or self.suite) // BATCH),
                derandomize=True,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
            @given(st.binary(min_size=BATCH * DRAWN, max_size=BATCH * DRAWN))
            def test(drawn: bytes) -> None:
                for at in range(0, len(drawn), DRAWN):
                    case = self.cases(Dice(drawn[at : at + DRAWN]))
                    try:
                        self.judge(read, case)
                    except BaseException as error:
                        error.add_note(f"the case: {case!r}"[:1000])
                        raise

            faulthandler.dump_traceback_later(300, exit=True)  # native code that never returns
            try:
                test()
            finally:
                faulthandler.cancel_dump_traceback_later()

    def case(self, seed: int, number: int) -> Any:
        """One of the cases of this seed, without hypothesis."""
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(20 * limit)  # what is nested deep has to be written first
        try:
            return self.cases(Dice(random.Random(f"{seed} {number}").randbytes(DRAWN)))
        finally:
            sys.setrecursionlimit(limit)

    def judge(self, read: Callable[[Any], object], case: Any) -> None:
        """Raise where one case ends in another exception, with another exit code, or too late."""
        with _limited():
            try:
                read(case)
            except CompilerError as error:
                if error.exit_code not in self.codes:
                    raise AssertionError(
                        f"{self.name}: exit code {error.exit_code}, not {sorted(self.codes)}"
                    ) from error
                str(error).encode("utf-8", "replace")


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder, in memory where there is such a place: a case writes files that nobody needs on a disk."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY_DISK) as folder:
        yield Path(folder)


@contextmanager
def _limited() -> Iterator[None]:
    """Raise `Endless` from what computes longer than `LONGEST`, or waits for long."""
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, LONGEST), signal.SIGALRM: (signal.ITIMER_REAL, WAITING * LONGEST)}
    previous = {number: signal.signal(number, _stop) for number in timers}
    begin, computed = time.perf_counter(), time.process_time()
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, previous[number])
    took = time.process_time() - computed, (time.perf_counter() - begin) / WAITING
    if max(took) > LONGEST:  # native code heard no signal
        raise Endless(f"{took[0]:.1f} s of the processor, {WAITING * took[1]:.1f} s by the clock")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Endless(f"over {LONGEST} s")


def at(name: str, read: Callable[[Path], object]) -> Callable[[Path], Callable[[bytes], object]]:
    """A `prepare` for a reader of one file of this name."""

    def prepare(folder: Path) -> Callable[[bytes], object]:
        path = folder / name

        def run(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return run

    return prepare
