from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from compiler.bundle import read
from compiler.measure.process import Worker
from compiler.measure.protocol import Spec

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_slow_candidate_is_slower_by_its_share(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of scripts/gate_power: ten times as slow, so that a busy machine cannot hide it."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from gate_trials.slowed import SHARE, SlowedWorker

    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS))
    monkeypatch.setenv(SHARE, "9")
    spec = Spec(runner="engine", folder=str(classifier), manifest=read(classifier), threads=1)
    with Worker(spec) as usual, SlowedWorker(spec) as slowed:
        samples: dict[Worker, list[float]] = {usual: [], slowed: []}
        for _ in range(4):
            for worker in samples:
                samples[worker] += worker.run("latency_8x64").series["latency_8x64"]
    assert median(samples[slowed]) / median(samples[usual]) > 4
