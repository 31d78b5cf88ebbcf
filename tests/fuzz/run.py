"""All readers with many cases, each in a process of its own with a limit on its memory; see scripts/fuzz."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz.reader import LONGEST, MEMORY_DISK, WAITING, Endless, Reader, scratch

MEMORY = 1 << 30  # bytes beyond what a reader has when it begins
GRACE = 60.0  # seconds after which a process in one case is killed: native code that hears no signal
SHOWN = 5  # different failures of a reader


def readers() -> dict[str, Reader]:
    """All that the test modules list, by name."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    return {each.name: each for name in modules for each in importlib.import_module(f"tests.fuzz.{name}").READERS}


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    known = readers()
    if unknown := [name for name in chosen.readers if name not in known]:
        parser.error(f"no such reader: {', '.join(unknown)}; there are {', '.join(known)}")
    if chosen.work:
        _work(known[chosen.readers[0]], chosen.cases)
        return 0
    names = chosen.readers or list(known)
    print(f"{'reader':24}{'cases':>9}{'foreign':>9}{'hangs':>7}{'slowest':>10}{'memory':>9}{'time':>8}", flush=True)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        return int(not all(pool.map(lambda name: _run(known[name], chosen.cases), names)))


def _run(reader: Reader, cases: int) -> bool:
    """One reader's row; whether nothing was found."""
    begin = time.monotonic()
    done = foreign = hangs = memory = 0
    slowest = 0.0
    shown: list[str] = []
    while done < cases:
        found, why = _process(reader.name, cases - done)
        done += max(1, found["cases"])
        foreign += found["foreign"]
        hangs += found["hangs"]
        slowest, memory = max(slowest, found["slowest"]), max(memory, found["memory"])
        shown += [each for each in found["shown"] if each not in shown]
        if why:
            hangs += why == "hang"
            foreign += why != "hang"
            shown.append(f"{why} at {found['last']}")
        elif found["cases"] < cases - done:
            break  # hypothesis knows no more
    seconds = time.monotonic() - begin
    row = f"{reader.name:24}{done:>9}{foreign:>9}{hangs:>7}{slowest:>8.2f} s{memory >> 20:>6} MB{seconds:>6.0f} s"
    print("\n".join([row, *(f"    {each}" for each in shown[:SHOWN])]), flush=True)
    return not foreign and not hangs and memory <= MEMORY


def _process(name: str, cases: int) -> tuple[dict[str, Any], str]:
    """What a process found, and why it ended before its time, or ""."""
    with tempfile.NamedTemporaryFile(dir=MEMORY_DISK) as state:
        command = [sys.executable, "-m", "tests.fuzz.run", name, "--cases", str(cases), "--work"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "FUZZ_STATE": state.name}
        ) as process:
            why = ""
            before, since = b"", time.monotonic()
            while process.poll() is None:
                time.sleep(0.2)
                now = Path(state.name).read_bytes()
                if now != before:
                    before, since = now, time.monotonic()
                elif now and time.monotonic() - since > GRACE:
                    process.kill()
                    why = "hang"
            errors = process.stderr.read().decode(errors="replace") if process.stderr else ""
        content = Path(state.name).read_bytes()
        lines = content.splitlines()
        found = json.loads(lines[0]) if lines else {**_nothing(), "last": ""}
        if process.returncode and not why:
            why = f"died with {process.returncode}: {errors[-500:]!r}"
        return found, why


def _nothing() -> dict[str, Any]:
    return {"cases": 0, "foreign": 0, "hangs": 0, "slowest": 0.0, "memory": 0, "shown": [], "last": ""}


def _work(reader: Reader, cases: int) -> None:
    """In a process of its own: run the cases, and keep what was found in a file that the parent reads."""
    state = os.open(os.environ["FUZZ_STATE"], os.O_WRONLY)
    kinds: Counter[str] = Counter()
    found = _nothing()
    with scratch() as folder:
        read = reader.prepare(folder)
        begin = _memory("VmRSS")
        limit = _memory("VmSize") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        def judge(case: Any) -> None:
            found["last"] = repr(case)[:300]
            _write(state, found)
            started = time.process_time()
            try:
                reader.judge(read, case)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  (a panic of native code is none of Exception)
                found["hangs" if isinstance(error, Endless) else "foreign"] += 1
                kind = _kind(error)
                kinds[kind] += 1
                if kinds[kind] == 1 and len(kinds) <= 20:
                    found["shown"].append(f"{kind}\n        {found['last']}")
            found["slowest"] = max(found["slowest"], time.process_time() - started)
            found["cases"] += 1

        reader.each(judge, cases, derandomize=False)
        found["memory"] = max(0, _memory("VmHWM") - begin)
    _write(state, found)


def _write(state: int, found: dict[str, Any]) -> None:
    """In place, since a rename for every case takes longer than the case; who dies does so outside of this."""
    content = json.dumps(found).encode() + b"\n"
    os.pwrite(state, content, 0)
    os.ftruncate(state, len(content))


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
