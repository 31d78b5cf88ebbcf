"""What a command gave, without what is another at every call: times and places."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# Keys whose values are of the clock, and files that hold such.
TIMED = frozenset({"seconds", "created", "measured", "speedup", "digest", "size_bytes", "free_bytes", "executable"})
RECORDS = frozenset({"certificate.json", "manifest.json", "manifest.sha256", "exported.json", "optimized.json"})
DATED = RECORDS | {"report.html"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+|\d+\.\d+ s\b")
TAIL = 2000


def run(tree: Path, words: Sequence[str], folder: Path, cache: Path) -> dict[str, Any]:
    """Exit code and result of one command, run by the code in `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "TRANSFORMER_COMPILER_CACHE": str(cache)}
    program = [sys.executable, "-P", "-c", "from compiler.cli import main; main()", *words]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    places = {str(folder): "FOLDER", str(cache): "CACHE", str(tree): "TREE"}
    output = done.stdout
    for place, name in places.items():
        output = output.replace(place, name)
    try:
        result = _timeless(json.loads(output))
    except ValueError:
        result = TIME.sub("TIME", output).splitlines()
    stderr = "" if done.returncode in (0, 8, 9) or output else done.stderr[-TAIL:]
    return {"code": done.returncode, "result": result, "stderr": stderr}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder that holds no time."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in DATED)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """A line for each value that is another."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from differences(before.get(name, "absent"), after.get(name, "absent"), f"{path}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{path}/{number}")
    elif before != after:
        yield f"{path}: {str(before)[:200]} became {str(after)[:200]}"


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(each) for name, each in value.items() if name not in TIMED}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return TIME.sub("TIME", value) if isinstance(value, str) else value
