"""Cold builds: a fresh cache, the real checkpoints, all stages; beside what the libraries' own export takes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, Row, attempt, measured, times_as_long
from benchmarks.process import OWN_PYTHON, seconds_of, worker
from benchmarks.settings import Settings

COMPILE = str(OWN_PYTHON.with_name("compile"))
EXPORT = "export of SmolLM2-135M from safetensors, over torch.export and torch.onnx.export of it"
EXPORT_GGUF = "export of SmolLM2-135M from GGUF, with reading it"
BUILD = "cold build of SmolLM2-135M from GGUF, with check and bench, over the same"
BUILD_ENCODER = "cold build of MiniLM-L6"


def _compile(*arguments: str, cache: Path) -> float:
    """Seconds of one command with that cache. A verdict of "fail" (8) is a complete build too."""
    environment = {**os.environ, "TRANSFORMER_COMPILER_CACHE": str(cache)}
    return seconds_of([COMPILE, *arguments], accept=(0, 8), env=environment)


def rows(gguf: Path, decoder: Path, encoder: Path, out: Path, settings: Settings) -> Iterator[Row]:
    """Args: SmolLM2 as a GGUF file, the same weights as a folder of safetensors, MiniLM, and a folder to write."""
    baseline: list[float] = []
    yield from attempt([EXPORT], lambda: _exports(decoder, baseline, settings))
    yield from attempt([EXPORT_GGUF], lambda: [measured(EXPORT_GGUF, [_export(gguf)], "s")])
    yield from attempt([BUILD], lambda: [_build(gguf, decoder, out, baseline)])
    yield from attempt([BUILD_ENCODER], lambda: [measured(BUILD_ENCODER, [_cold(encoder, out / "minilm")], "s")])


def _exports(decoder: Path, baseline: list[float], settings: Settings) -> Iterator[Figure]:
    """Ours and the libraries' in turn; leaves the seconds of the latter in `baseline`."""
    ours = []
    for _ in range(settings.exports):
        ours.append(_export(decoder))
        baseline.append(_plain(decoder))
    yield times_as_long(EXPORT, ours, baseline, target=2)


def _build(gguf: Path, decoder: Path, out: Path, baseline: list[float]) -> Figure:
    seconds = _cold(gguf, out / "smollm2")
    return times_as_long(
        BUILD, [seconds], [sorted(baseline)[len(baseline) // 2] if baseline else _plain(decoder)], target=8
    )


def _export(model: Path) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        return _compile("export", str(model), "--out", f"{scratch}/portable", cache=Path(scratch) / "cache")


def _plain(model: Path) -> float:
    """Seconds of the libraries' own export of a causal language model, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        worker("torch_onnx_export", model=str(model), auto_class="AutoModelForCausalLM", out=f"{scratch}/model.onnx")
        return time.perf_counter() - started


def _cold(model: Path, bundle: Path) -> float:
    """Seconds of a build with an empty cache, which is kept for `bundle_of`."""
    cache = bundle.with_name(f"{bundle.name}-cache")
    shutil.rmtree(cache, ignore_errors=True)
    return _compile("build", str(model), "--out", str(bundle), cache=cache)


def bundle_of(model: Path, bundle: Path) -> Path:
    """A bundle of this code: from the cache of a cold build where that is of this code too."""
    _compile("build", str(model), "--no-bench", "--out", str(bundle), cache=bundle.with_name(f"{bundle.name}-cache"))
    return bundle


def portable_of(model: Path, bundle: Path) -> Path:
    """The portable ONNX model behind a bundle."""
    out = bundle.with_name(f"{bundle.name}-portable")
    _compile("export", str(model), "--out", str(out), cache=bundle.with_name(f"{bundle.name}-cache"))
    return out / "model.onnx"
