"""What a command gave, without what is another at every call: times and places."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

# Keys whose values are of the clock, a list that is in its order, and files that hold such.
TIMED = frozenset(
    {"seconds", "created", "measured", "speedup", "time_share", "digest", "size_bytes", "free_bytes", "executable"}
)
BY_TIME = "placement"
RECORDS = frozenset({"certificate.json", "manifest.json", "manifest.sha256", "exported.json", "optimized.json"})
DATED = RECORDS | {"report.html"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+|\d+\.\d+ s\b|sha256:[0-9a-f]{64}|(?<=time=\")[\d.]+")
TAIL, SHOWN = 2000, 200  # characters
JUDGED = (0, 8, 9)  # exit codes of commands that came to a result
LIBRARIES = ("torch", "transformers", "onnxruntime", "onnxscript")
FORKED = Path(__file__).with_name("forked.py")


class Code:
    """The `compiler` of one tree, with a cache of its own, run in one folder."""

    def __init__(self, tree: Path, folder: Path, libraries: Sequence[str] = LIBRARIES) -> None:
        self.tree, self.folder, self.cache = tree, folder / "here", folder / "cache"
        self._outputs = folder / "stdout", folder / "stderr"
        self.folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": str(tree), "TRANSFORMER_COMPILER_CACHE": str(self.cache)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", FORKED, *libraries],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Code:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, words: Sequence[str]) -> dict[str, Any]:
        """Exit code and result of one command."""
        stdout, stderr = self._outputs
        asked = {"words": words, "folder": str(self.folder), "stdout": str(stdout), "stderr": str(stderr)}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        code, output = int(self._process.stdout.readline()), self._placeless(stdout)
        try:
            result = timeless(json.loads(output))
        except ValueError:
            result = TIME.sub("TIME", output).splitlines()
        said = "" if code in JUDGED or output else self._placeless(stderr)[-TAIL:]
        return {"code": code, "result": result, "stderr": said}

    def _placeless(self, path: Path) -> str:
        text = path.read_text()
        for place, name in ((self.folder, "FOLDER"), (self.cache, "CACHE"), (self.tree, "TREE")):
            text = text.replace(str(place), name)
        return text


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder that holds no time."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in DATED)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """A line for each value that is another."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from differences(before.get(name, "absent"), after.get(name, "absent"), f"{path}/{name}")
    elif isinstance(before, list) and isinstance(after, list):
        yield from _items(before, after, path)
    elif before != after:
        yield f"{path}: {str(before)[:SHOWN]} became {str(after)[:SHOWN]}"


def _items(before: list[Any], after: list[Any], path: str) -> Iterator[str]:
    """Items that only one list has; item by item where as many stand in the place of others."""
    written = [[json.dumps(each, sort_keys=True) for each in side] for side in (before, after)]
    for kind, first, last, other, end in SequenceMatcher(None, *written, autojunk=False).get_opcodes():
        if kind == "replace" and last - first == end - other:
            for number in range(last - first):
                yield from differences(before[first + number], after[other + number], f"{path}/{first + number}")
        elif kind != "equal":
            yield from (f"{path}/{number}: {str(before[number])[:SHOWN]} is gone" for number in range(first, last))
            yield from (f"{path}/{number}: {str(after[number])[:SHOWN]} is new" for number in range(other, end))


def timeless(value: Any) -> Any:
    """Without what holds a time, and digests of that."""
    if isinstance(value, dict):
        kept = {name: timeless(each) for name, each in value.items() if name not in TIMED | DATED}
        if isinstance(placed := kept.get(BY_TIME), list):
            kept[BY_TIME] = sorted(placed, key=json.dumps)
        return kept
    if isinstance(value, list):
        return [timeless(each) for each in value]
    return TIME.sub("TIME", value) if isinstance(value, str) else value
