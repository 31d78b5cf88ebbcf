from __future__ import annotations

from pathlib import Path

import pytest

from compiler.errors import IntegrityError
from compiler.measure import ROUNDS, measure
from tests.models import encoder_bundle


def test_engine_and_pytorch_are_measured_alike(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = encoder_bundle(tmp_path / "bundle")
    steps: list[tuple[str, int, int]] = []
    measured = measure(folder, tiny_encoder, progress=lambda *step: steps.append(step))
    assert measured.reference is not None
    assert (measured.engine.name, measured.reference.name) == ("onnxruntime-cpu", "pytorch")
    assert measured.engine.threads == measured.reference.threads == 1
    names = ["latency_1x32", "latency_1x64", "latency_8x64"]  # the context holds 64
    for runner in (measured.engine, measured.reference):
        assert [series.name for series in runner.series] == names
        assert all(len(series.samples) >= 4 * ROUNDS for series in runner.series)
        assert runner.load_seconds > 0
        assert runner.peak_memory_bytes > 10e6
    assert measured.engine.disk_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert [step[0] for step in steps] == names * ROUNDS
    assert [step[1:] for step in steps] == [(i, 9) for i in range(9)]


def test_the_engine_alone(tmp_path: Path) -> None:
    assert measure(encoder_bundle(tmp_path / "bundle"), None).reference is None


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        measure(tmp_path, None)
