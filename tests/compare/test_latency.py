from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from compiler.bundle import read as manifest_of
from compiler.compare import compare, read
from compiler.compare.gates import Gates, Latency
from compiler.compare.latency import LEAST_ROUNDS, OpenWorker, looks_at, measured_here, stored
from compiler.compare.speed import latency_verdict, memory_verdict
from compiler.errors import UsageError
from compiler.machine import detect
from compiler.measure.process import Worker
from compiler.measure.protocol import Samples
from compiler.records import Unsteady
from compiler.records.comparison import Verdict
from compiler.workers import Usage
from tests.compare.sides import measured, side

SERIES = ["latency_1x32", "latency_1x64", "latency_8x64"]


class Synthetic:
    """Workers whose processes are each off by a few percent all their life; their calls vary more."""

    def __init__(self, median_ms: float, spread: float, seed: int, log: list[str]) -> None:
        self._median, self._spread, self._log = median_ms, spread, log
        self._generator = np.random.default_rng(seed)
        self.started = 0

    def open(self, _: Any) -> Worker:
        self.started += 1
        level = self._median * float(np.exp(self._generator.normal(0, self._spread)))
        return cast("Worker", SyntheticWorker(level, self._generator, self._log, self._median))


class SyntheticWorker:
    def __init__(self, level: float, generator: np.random.Generator, log: list[str], name: float) -> None:
        self._level, self._generator, self._log, self._name = level, generator, log, name

    def __enter__(self) -> SyntheticWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(self, workload: str) -> Samples:
        self._log.append(f"{workload} {self._name:g}")
        return Samples(series={workload: tuple((self._level * np.exp(self._generator.normal(0, 0.05, 20))).tolist())})

    def finish(self) -> Usage:
        return Usage(peak_memory_bytes=int(1e8 * (1 + self._generator.normal(0, 0.001))))


def compared(folder: Path, slower: float, spread: float, seed: int = 0) -> tuple[list[Verdict], list[str], int]:
    log: list[str] = []
    fast, slow = Synthetic(10.0, spread, seed, log), Synthetic(10.0 * slower, spread, seed + 1000, log)
    opened = read(str(folder))
    workers: tuple[OpenWorker, OpenWorker] = (fast.open, slow.open)
    timed = measured_here(opened, opened, Gates(), workers=workers)
    assert fast.started == slow.started
    assert len(timed.memory[0]) == len(timed.memory[1]) == LEAST_ROUNDS
    return [latency_verdict(each, Gates(), paired=True, looks=timed.looks) for each in timed.timings], log, fast.started


@pytest.fixture(scope="module")
def bundle(classifier: Path) -> Path:
    assert manifest_of(classifier).context_length == 64
    return classifier


def test_the_two_take_turns_and_the_first_changes(bundle: Path) -> None:
    verdicts, log, rounds = compared(bundle, 1.2, 0.002)
    assert rounds == LEAST_ROUNDS  # clear after as few as there may be
    assert [verdict.name for verdict in verdicts] == SERIES
    # The baseline is 10 ms, the candidate 12 ms: who begins changes from turn to turn and from round to round.
    first = [entry.split()[1] for entry in log if entry.startswith("latency_1x32")]
    assert first[:4] == ["10", "12", "12", "10"]  # 400 ms of each are enough
    assert first[4:8] == ["12", "10", "10", "12"]
    assert all(verdict.word == "worse" and verdict.broken for verdict in verdicts)
    assert verdicts[0].code == "latency-increase:latency_1x32"


def test_gates_hold_and_break_as_often_as_promised(bundle: Path) -> None:
    """Processes that differ by 1 %: no false alarm at a margin of 3 %, and 8 % more is caught."""
    alarms = sum(any(each.broken for each in compared(bundle, 1.0, 0.01, seed)[0]) for seed in range(10))
    caught = sum(any(each.broken for each in compared(bundle, 1.08, 0.01, seed)[0]) for seed in range(10))
    assert (alarms, caught) == (0, 10)


def test_noise_takes_more_rounds_and_ends_without_a_verdict(bundle: Path) -> None:
    verdicts, _, rounds = compared(bundle, 1.0, 0.05)
    assert rounds == 12
    undecided = [verdict for verdict in verdicts if verdict.word == "not enough data"]
    assert undecided
    assert all(not verdict.broken and verdict.more and verdict.more > 0 for verdict in undecided)


def test_much_noise_raises_no_alarms(bundle: Path) -> None:
    """Processes that differ by 20 %, looked at up to three times: false alarms stay as rare as promised."""
    alarms = sum(any(each.broken for each in compared(bundle, 1.0, 0.2, seed)[0]) for seed in range(50))
    assert alarms <= 2


def test_when_it_is_asked_whether_rounds_are_enough() -> None:
    assert looks_at(12) == (5, 8, 12)
    assert looks_at(20) == (5, 8, 12, 18, 20)
    assert looks_at(5) == (5,)


def test_peak_memory() -> None:
    gates = Gates()
    worse = memory_verdict((100.0, 101.0, 99.0), (150.0, 151.0, 149.0), gates)
    assert (worse.word, worse.code) == ("worse", "memory-increase:peak")
    assert memory_verdict((100.0,), (105.0,), gates).word == "same"
    assert memory_verdict((100.0,), (80.0,), gates).word == "better"


def test_stored_samples_of_one_machine_and_versions() -> None:
    slow = tuple(value * 1.5 for value in measured().engine.series[0].samples)
    timed = stored(side(measured=measured()), side("b", measured=measured(slow)))
    verdict = latency_verdict(timed.timings[0], Gates(), paired=timed.paired)
    assert verdict.word == "worse"
    assert verdict.change == pytest.approx(0.5, rel=0.05)
    assert verdict.test == "bootstrap over 3 stored rounds"
    assert len(timed.timings[0].baseline) == 3


def test_stored_samples_are_refused_with_every_difference_named() -> None:
    other = msgspec.structs.replace(detect(), cpu="Another CPU")
    here = side(measured=measured(), versions={"onnxruntime-cpu": "1.0", "torch": "2"})
    there = side("b", measured=measured(machine=other), versions={"onnxruntime-cpu": "2.0", "torch": "2"})
    with pytest.raises(UsageError) as caught:
        stored(here, there)
    assert caught.value.found == f"cpu: {detect().cpu} and Another CPU; onnxruntime-cpu: 1.0 and 2.0"
    with pytest.raises(UsageError, match="built with --no-bench") as caught:
        stored(here, side("b", measured=None))
    assert caught.value.subject == "b: no latency is stored"


def test_a_margin_of_ones_own() -> None:
    slow = tuple(value * 1.2 for value in measured().engine.series[0].samples)
    timed = stored(side(measured=measured()), side("b", measured=measured(slow)))
    assert not latency_verdict(timed.timings[0], Gates(latency=Latency(max_increase=0.5)), paired=False).broken
    shown = latency_verdict(timed.timings[0], Gates(latency=Latency(enforce=False)), paired=False)
    assert (shown.word, shown.broken) == ("worse", False)


@pytest.mark.parametrize("noisy", ["a", "b"])
@pytest.mark.parametrize(("slower", "word"), [(1.0, "not enough data"), (0.5, "not enough data"), (1.5, "worse")])
def test_what_other_work_disturbed_shows_no_candidate_to_be_as_fast(noisy: str, slower: float, word: str) -> None:
    """Neither the same nor better can be said of figures that are none to rely on; worse stays worse."""
    engine = measured().engine.name
    shaken = (Unsteady(runner=engine, series="first token", spread=0.1, drift=0.4),)
    samples = tuple(value * slower for value in measured().engine.series[0].samples)
    found = compare(
        side(measured=measured(unsteady=shaken if noisy == "a" else ())),
        side("b", measured=measured(samples, unsteady=shaken if noisy == "b" else ())),
        Gates(),
    )
    (verdict,) = [each for each in found.verdicts if each.subject == "latency"]
    assert (verdict.word, verdict.broken) == (word, word == "worse")
    assert verdict.test == "bootstrap over 3 stored rounds, not steady"
    assert ("latency:first token" in found.undecided) == (word != "worse")
    if word != "worse":
        assert verdict.wanted == "measure again while nothing else runs"
    (note,) = [note for each in (found.baseline, found.candidate) for note in each.notes if "budget" not in note]
    assert note == (
        f"{noisy}: not steady when it was measured, no figures to rely on: "
        f"first token of {engine} (spread 10%, second half +40%)"
    )


def test_what_disturbed_pytorch_says_nothing_of_either_engine() -> None:
    shaken = (Unsteady(runner="pytorch", series="first token", spread=0.1, drift=0.4),)
    found = compare(side(measured=measured(unsteady=shaken)), side("b", measured=measured()), Gates())
    (verdict,) = [each for each in found.verdicts if each.subject == "latency"]
    assert (verdict.steady, verdict.test, found.baseline.unsteady) == (True, "bootstrap over 3 stored rounds", ())
    unmeasured = compare(side(measured=measured(unsteady=shaken)), side("b"), Gates(), with_latency=False)
    assert not unmeasured.baseline.unsteady
