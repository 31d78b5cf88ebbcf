from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import records
from compiler.bundle import MANIFEST
from compiler.errors import EngineError
from compiler.measure.process import Worker
from compiler.measure.protocol import Spec
from compiler.records import Manifest
from tests.models import decoder_bundle, encoder_bundle


def spec(folder: Path) -> Spec:
    return Spec(runner="engine", folder=str(folder), manifest=records.load(folder / MANIFEST, Manifest), threads=1)


def test_a_worker_serves_rounds_until_it_is_finished(tmp_path: Path) -> None:
    with Worker(spec(encoder_bundle(tmp_path / "bundle"))) as worker:
        assert worker.loaded.name == "onnxruntime-cpu"
        assert worker.loaded.seconds > 0
        first, second = worker.run("latency_1x32"), worker.run("latency_1x32")
        usage = worker.finish()
    assert list(first.series) == ["latency_1x32"]
    assert len(first.series["latency_1x32"]) == len(second.series["latency_1x32"]) == 20
    assert all(sample > 0 for sample in first.series["latency_1x32"])
    assert 10e6 < usage.peak_memory_bytes < 4e9


def test_a_decoder_gives_first_and_later_tokens(tmp_path: Path) -> None:
    with Worker(spec(decoder_bundle(tmp_path / "bundle"))) as worker:
        series = worker.run("generate").series
    assert {name: len(samples) for name, samples in series.items()} == {
        "time_to_first_token_32": 2,
        "time_per_token": 2 * 23,
    }


def test_a_worker_that_cannot_open_its_model_says_why(tmp_path: Path) -> None:
    folder = encoder_bundle(tmp_path / "bundle")
    (folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineError) as caught, Worker(spec(folder)):
        pass
    assert "model.onnx" in caught.value.subject


def test_a_worker_that_dies_in_a_round_says_why(tmp_path: Path) -> None:
    with Worker(spec(encoder_bundle(tmp_path / "bundle"))) as worker, pytest.raises(EngineError) as caught:
        worker.run("no such workload")
    assert "KeyError: 'no such workload'" in caught.value.found


def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match="died"),
        Worker(spec(encoder_bundle(tmp_path / "bundle")), timeout_seconds=0.01),
    ):
        pass


def test_an_error_in_the_block_ends_the_process(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Worker(spec(encoder_bundle(tmp_path / "bundle"))) as worker:
        raise ZeroDivisionError
    assert worker._process.poll() is not None


def test_answers_are_alone_on_stdout(tmp_path: Path) -> None:
    """Whatever libraries print goes to stderr."""
    import msgspec

    question = msgspec.json.encode(spec(encoder_bundle(tmp_path / "bundle"))) + b"\n"
    code = (
        "import compiler.measure.worker as worker\n"
        "original = worker.open_runner\n"
        "def noisy(spec):\n"
        "    print('hello from a library', flush=True)\n"
        "    return original(spec)\n"
        "worker.open_runner = noisy\n"
        "worker.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=question, capture_output=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert [sorted(json.loads(line)["answer"]) for line in done.stdout.splitlines()] == [
        ["name", "seconds", "version"],
        ["peak_memory_bytes"],
    ]
    assert b"hello from a library" in done.stderr
