"""What each runner is asked to do. One round of a workload gives samples in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from compiler.records import Manifest
from gpu_trials.asked import Sizes
from gpu_trials.runners import Runner

Samples = dict[str, tuple[float, ...]]
Workload = Callable[[Runner], Samples]

WARMUP = 3


def workloads_of(manifest: Manifest, sizes: Sizes) -> dict[str, Workload]:
    """The workloads of this kind of model, by name."""
    if manifest.kind == "encoder":
        return {f"encode {b}x{t}": partial(_encode, manifest, sizes, (b, t)) for b, t in sizes.encode}
    return {f"decode at batch {batch}": partial(_decode, manifest, sizes, batch) for batch in sizes.decode}


def _encode(manifest: Manifest, sizes: Sizes, shape: tuple[int, int], runner: Runner) -> Samples:
    ids = tokens(manifest, shape)
    for _ in range(WARMUP):
        runner.encode(ids)
    samples = []
    for _ in range(sizes.calls):
        before = time.perf_counter()
        runner.encode(ids)
        samples.append(1000 * (time.perf_counter() - before))
    return {f"encode {shape[0]}x{shape[1]}": tuple(samples)}


def _decode(manifest: Manifest, sizes: Sizes, batch: int, runner: Runner) -> Samples:
    """A token's time, the prompt's left out; the first generation warms up."""
    ids = tokens(manifest, (batch, sizes.prompt))
    runner.generate(ids, sizes.new)
    _, samples = runner.generate(ids, sizes.new)
    return {f"decode at batch {batch}": tuple(samples[1:])}


def tokens(manifest: Manifest, shape: tuple[int, int]) -> np.ndarray:
    """Random ones, the same for every runner."""
    return np.random.default_rng(0).integers(3, manifest.vocabulary, shape, dtype=np.int64)
