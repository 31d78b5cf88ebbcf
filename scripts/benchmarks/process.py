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
LONGEST = 1800.0  # seconds of one process


class ProcessError(Exception):
    """A process that did not do its work. `name` says which one, `stderr` is the end of what it printed there."""

    def __init__(self, name: str, why: str, stderr: str) -> None:
        super().__init__(f"{name}: {why}\n{stderr}")
        self.name = name
        self.why = why
        self.stderr = stderr


def run(
    name: str,
    command: list[str],
    *,
    accept: tuple[int, ...] = (0,),
    env: dict[str, str] | None = None,
    timeout: float = LONGEST,
) -> str:
    """What a command prints on stdout. Raises ProcessError for any exit code that is not in `accept`."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=env, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stderr or b""
        stderr = printed if isinstance(printed, str) else printed.decode(errors="replace")
        raise ProcessError(name, f"no answer after {timeout:g} s", stderr[-3000:]) from error
    except OSError as error:
        raise ProcessError(name, f"cannot be started: {error}", "") from error
    if result.returncode not in accept:
        raise ProcessError(name, f"exit code {result.returncode}", result.stderr[-3000:])
    return result.stdout


def worker(name: str, *, python: Path = OWN_PYTHON, env: dict[str, str] | None = None, **asked: Any) -> dict[str, Any]:
    """The answer of `workers/NAME.py`. Raises ProcessError when it gives none."""
    printed = run(name, [str(python), str(WORKERS / f"{name}.py"), json.dumps(asked)], env=env).strip()
    try:
        answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise ProcessError(name, "its last line on stdout is no JSON object", printed[-3000:]) from error
    return answer


def seconds_of(command: list[str], *, accept: tuple[int, ...] = (0,), env: dict[str, str] | None = None) -> float:
    """Wall seconds of one command. Raises ProcessError as `run` does."""
    started = time.perf_counter()
    run(" ".join(command), command, accept=accept, env=env)
    return time.perf_counter() - started
