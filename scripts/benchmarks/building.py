"""Cold builds: a fresh cache, the real checkpoints, all stages."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, measured
from benchmarks.process import OWN_PYTHON, seconds_of

COMPILE = str(OWN_PYTHON.with_name("compile"))


def _cold(*arguments: str) -> float:
    """Seconds of one command with an empty cache. A verdict of "fail" (8) is a complete build too."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TRANSFORMER_COMPILER_CACHE": cache}
        return seconds_of([COMPILE, *arguments], accept=(0, 8), env=environment)


def figures(gguf: Path, decoder: Path, encoder: Path, out: Path) -> Iterator[Figure]:
    """Leaves the bundles `out`/smollm2 and `out`/minilm and the portable encoder `out`/portable behind.

    Args: SmolLM2 as a GGUF file, the same weights as a folder of safetensors, and MiniLM.
    """
    with tempfile.TemporaryDirectory() as scratch:
        seconds = _cold("export", str(decoder), "--out", f"{scratch}/portable")
        yield measured("export of SmolLM2-135M from safetensors", [seconds], "s", target=30)
        seconds = _cold("export", str(gguf), "--out", f"{scratch}/portable")
        yield measured("export of SmolLM2-135M from GGUF, with reading it", [seconds], "s")
    seconds = _cold("build", str(gguf), "--out", str(out / "smollm2"))
    yield measured("cold build of SmolLM2-135M from GGUF, with check and bench", [seconds], "s", target=150)
    seconds = _cold("build", str(encoder), "--out", str(out / "minilm"))
    yield measured("cold build of MiniLM-L6", [seconds], "s")
    _cold("export", str(encoder), "--out", str(out / "portable"))
