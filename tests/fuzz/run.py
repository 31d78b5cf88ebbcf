"""All readers with many cases, each in a process of its own with a limit on its memory; see scripts/fuzz."""

from __future__ import annotations

import argparse
import importlib
import json
import mmap
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from compiler.checkpoint.quiet import quiet
from tests.fuzz.reader import LONGEST, MEMORY_DISK, WAITING, Endless, Reader, scratch

MEMORY = 1 << 30  # bytes beyond what a reader has when it begins
GRACE = 60.0  # seconds after which a process in one case is killed: native code that hears no signal
SHOWN = 5  # different failures of a reader
EVERY = 500  # cases after which a process tells how far it came
ROOM = 1 << 16  # bytes for that
WORK = "import sys; from tests.fuzz.run import work; work(*sys.argv[1:4], *map(int, sys.argv[4:]))"


@dataclass
class Found:
    """What cases came to.

    Attributes:
        slowest: seconds of the processor for one case.
        memory: bytes that the process took at most, beyond what it had at the first case.
        shown: different failures, with the number of a case.
    """

    cases: int = 0
    foreign: int = 0
    hangs: int = 0
    slowest: float = 0.0
    memory: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Count another process' cases in."""
        self.cases += other.cases
        self.foreign += other.foreign
        self.hangs += other.hangs
        self.slowest, self.memory = max(self.slowest, other.slowest), max(self.memory, other.memory)
        self.shown += [each for each in other.shown if each not in self.shown]

    @property
    def good(self) -> bool:
        return not self.foreign and not self.hangs and self.memory <= MEMORY


def readers() -> dict[str, tuple[str, Reader]]:
    """All that the test modules list, by name and with their module, the fastest first."""
    modules = sorted(f"tests.fuzz.{path.stem}" for path in Path(__file__).parent.glob("test_*.py"))
    found = [(name, each) for name in modules for each in importlib.import_module(name).READERS]
    return {each.name: (name, each) for name, each in sorted(found, key=lambda pair: pair[1].cost)}


def _reader(module: str, name: str) -> Reader:
    """One of them, without importing what the others need."""
    place = importlib.import_module(module)
    return next((each for each in place.READERS if each.name == name), None) or getattr(place, name)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="other cases")
    parser.add_argument("--case", type=int, help="run this one here, and show it with its traceback")
    parser.add_argument("--record", type=Path, help="append each reader's result to this file; skip what is in it")
    parser.add_argument("--json", action="store_true", help="print each reader's result as a line of JSON")
    chosen = parser.parse_args(words)
    known = readers()
    if unknown := [name for name in chosen.readers if name not in known]:
        parser.error(f"no such reader: {', '.join(unknown)}; there are {', '.join(known)}")
    names = chosen.readers or list(known)
    if chosen.case is not None:
        return _show(known[names[0]][1], chosen.seed, chosen.case)
    about = {"seed": chosen.seed, "commit": _commit()}
    done = _recorded(chosen.record, about, chosen.cases)
    if not chosen.json:
        print(f"{'reader':24}{'cases':>9}{'foreign':>9}{'hangs':>7}{'slowest':>10}{'memory':>9}{'time':>8}", flush=True)

    def run(name: str) -> bool:
        if name in done:
            return done[name]
        begin = time.monotonic()
        came = found(known[name][0], name, chosen.seed, chosen.cases)
        seconds = time.monotonic() - begin
        line = json.dumps({"reader": name, **asdict(came), "seconds": round(seconds, 1), **about})
        if chosen.record:
            with chosen.record.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        print(line if chosen.json else _row(name, came, seconds), flush=True)
        return came.good

    with ThreadPoolExecutor(chosen.jobs) as pool:
        return int(not all(list(pool.map(run, names))))


def _row(name: str, found: Found, seconds: float) -> str:
    numbers = f"{found.cases:>9}{found.foreign:>9}{found.hangs:>7}{found.slowest:>8.2f} s{found.memory >> 20:>6} MB"
    return "\n".join([f"{name:24}{numbers}{seconds:>6.0f} s", *(f"    {each}" for each in found.shown[:SHOWN])])


def _commit() -> str:
    """Of the code, with a + where it has changes of its own."""
    words = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _recorded(record: Path | None, about: dict[str, Any], cases: int) -> dict[str, bool]:
    """Readers that had as many cases of this seed at this commit, and whether nothing was found."""
    lines = record.read_text(encoding="utf-8").splitlines() if record and record.exists() else []
    rows = [row for row in map(json.loads, lines) if row["cases"] >= cases and about.items() <= row.items()]
    return {row["reader"]: not row["foreign"] and not row["hangs"] and row["memory"] <= MEMORY for row in rows}


def found(module: str, name: str, seed: int, cases: int) -> Found:
    """What a reader's cases came to, in one process, or more where a case ends it."""
    total = Found()
    while total.cases < cases:
        total.add(_process(module, name, seed, total.cases, cases))
    return total


def _process(module: str, name: str, seed: int, first: int, last: int) -> Found:
    """What a process found in these cases; where it ended before its time, that is the last case's failure."""
    with tempfile.NamedTemporaryFile(dir=MEMORY_DISK) as state:
        state.truncate(ROOM)
        with subprocess.Popen(
            [sys.executable, "-c", WORK, module, name, state.name, str(seed), str(first), str(last)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            why = ""
            before, since = -1, time.monotonic()
            while process.poll() is None:
                time.sleep(0.2)
                now = _read(state.name)[0]
                if now != before:
                    before, since = now, time.monotonic()
                elif now and time.monotonic() - since > GRACE:
                    process.kill()
                    why = "hang"
            errors = process.stderr.read().decode(errors="replace") if process.stderr else ""
        number, found = _read(state.name)
        if process.returncode and not why:
            why = f"died with {process.returncode}: {errors[-500:]!r}"
        if why:
            told = f"{why}\n        case {number - 1} of seed {seed}"
            one = Found(hangs=int(why == "hang"), foreign=int(why != "hang"), shown=[told])
            found.add(one)
            found = replace(found, cases=max(1, number - first))
        return found


def _read(state: str) -> tuple[int, Found]:
    """The number of the case after the one that a process is in, and what it told last."""
    content = Path(state).read_bytes()
    text = content[8:].rstrip(b"\0")
    return struct.unpack("<q", content[:8])[0], Found(**json.loads(text)) if text else Found()


def work(module: str, name: str, place: str, *numbers: int) -> None:
    """In a process of its own: run the cases of a seed from one number to another, and keep what was found in a file
    that the parent reads.
    """
    seed, first, last = numbers
    reader = _reader(module, name)
    with Path(place).open("r+b") as file:
        state = mmap.mmap(file.fileno(), ROOM)
    kinds: Counter[str] = Counter()
    found = Found()

    def tell() -> None:
        found.memory = max(0, _memory("VmHWM") - begin)
        content = json.dumps(asdict(found)).encode()
        state[8:] = content.ljust(ROOM - 8, b"\0")

    with quiet() if "transformers" in sys.modules else nullcontext(), scratch() as folder:
        read = reader.prepare(folder)
        begin = _memory("VmRSS")
        limit = _memory("VmSize") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(first, last):
            case = reader.case(seed, number)
            state[:8] = struct.pack("<q", number + 1)
            started = time.process_time()
            try:
                reader.judge(read, case)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  (a panic of native code is none of Exception)
                if isinstance(error, Endless):
                    found.hangs += 1
                else:
                    found.foreign += 1
                kind = _kind(error)
                kinds[kind] += 1
                if kinds[kind] == 1 and len(kinds) <= 20:
                    found.shown.append(f"{kind}\n        case {number} of seed {seed}: {case!r}"[:800])
                    tell()
            found.slowest = max(found.slowest, time.process_time() - started)
            found.cases += 1
            if number % EVERY == 0:
                tell()
        tell()


def _show(reader: Reader, seed: int, number: int) -> int:
    case = reader.case(seed, number)
    print(f"{case!r}")
    with scratch() as folder:
        read = reader.prepare(folder)
        try:
            reader.judge(read, case)
        except BaseException:  # noqa: BLE001  (as above)
            traceback.print_exc()
            return 1
    return 0


def _kind(error: BaseException) -> str:
    """The error, and the last line of the project that it came through."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "/compiler/" in each.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:150]}"


def _memory(name: str) -> int:
    """Bytes of this process by Linux's name for them."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    assert LONGEST * WAITING < GRACE
    sys.exit(main(sys.argv[1:]))
