"""Which series are no figures to rely on, and that such a measurement is not kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from compiler import bundle, profile
from compiler.cache import Artifact
from compiler.measure.steadiness import unsteady
from compiler.progress import Event
from compiler.records import Built, Measured, Runner, Series
from compiler.stages import measure as measure_stage
from tests.models import encoder_bundle

CALM = tuple(np.random.default_rng(0).normal(10.0, 0.5, 60).tolist())
SPREAD = tuple(np.random.default_rng(0).normal(10.0, 3.0, 60).tolist())
SLOWER = (*(10.0, 10.1, 9.9) * 10, *(12.5, 12.6, 12.4) * 10)
PEAKS = (*(10.0, 10.1, 9.9, 10.2) * 15, 500.0)  # a single one is no other speed


def runner(samples: tuple[float, ...], name: str = "engine") -> Runner:
    series = (Series(name="latency_1x32", unit="ms", better="lower", samples=samples),)
    return Runner(name=name, version="1", threads=1, series=series, load_seconds=1.0, peak_memory_bytes=1, disk_bytes=1)


@pytest.mark.parametrize("samples", [CALM, PEAKS, (10.0,) * 6, (1.0, 9.0, 1.0), ()])
def test_steady(samples: tuple[float, ...]) -> None:
    assert unsteady([runner(samples)]) == ()


@pytest.mark.parametrize(("samples", "spread", "drift"), [(SPREAD, True, False), (SLOWER, True, True)])
def test_unsteady(samples: tuple[float, ...], spread: bool, drift: bool) -> None:
    (found,) = unsteady([runner(CALM), runner(samples, "pytorch")])
    assert (found.runner, found.series) == ("pytorch", "latency_1x32")
    assert (found.spread > 0.2, abs(found.drift) > 0.2) == (spread, drift)
    assert found.text.startswith("latency_1x32 of pytorch (spread ")


def test_a_slow_drift_between_equal_quartiles_is_found() -> None:
    samples = (10.0,) * 29 + (10.1,) * 2 + (12.2,) * 29
    (found,) = unsteady([runner(samples)])
    assert found.drift == pytest.approx(0.22)


def test_a_measurement_that_was_not_steady_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "cache"))
    folder = encoder_bundle(tmp_path / "bundle")
    made: list[Measured] = []

    def measure(*_: object, **__: object) -> Measured:
        engine = runner(SPREAD if not made else CALM)
        made.append(Measured(engine=engine, reference=None, machine=profile.detect(), seconds=1.0))
        made[-1] = replace(made[-1], unsteady=unsteady([engine]))
        return made[-1]

    monkeypatch.setattr("compiler.measure.measure", measure)
    events: list[Event] = []
    manifest = bundle.read(folder)
    built = Built(
        engine=manifest.engine,
        engine_version=manifest.engine_version,
        model=manifest.model,
        files=(),
        options=manifest.options,
        placement=(),
        seconds=0.0,
    )
    artifact = Artifact(folder, built, "key", "content")
    found = [measure_stage.run(artifact, tmp_path, events.append) for _ in range(3)]
    assert found == [made[0], made[1], made[1]]
    assert len(made) == 2
    assert [event.cached for event in events] == [False, False, True]
