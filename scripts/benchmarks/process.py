"""One engine, one process: run a worker with the interpreter of its own environment and read its JSON answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORKERS = Path(__file__).parent / "workers"
ROOT = Path(__file__).parents[2]
OWN_PYTHON = Path(sys.executable)


def worker(name: str, *, python: Path = OWN_PYTHON, **asked: Any) -> dict[str, Any]:
    """The answer of `workers/NAME.py`. Raises RuntimeError with what it printed when it fails."""
    command = [str(python), str(WORKERS / f"{name}.py"), json.dumps(asked)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{name} failed ({result.returncode}):\n{result.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return answer


def seconds_of(command: list[str], *, accept: tuple[int, ...] = (0,), env: dict[str, str] | None = None) -> float:
    """Wall seconds of one command. Raises RuntimeError with what it printed on any other exit code."""
    started = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    seconds = time.perf_counter() - started
    if result.returncode not in accept:
        raise RuntimeError(f"{' '.join(command)} failed ({result.returncode}):\n{result.stderr[-3000:]}")
    return seconds
