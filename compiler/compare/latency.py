"""Latency and memory of both: measured here in turns, or taken from stored samples that are comparable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from math import ceil
from typing import NamedTuple

import msgspec
import numpy as np

from compiler.compare.gates import Gates
from compiler.compare.sides import Opened
from compiler.compare.speed import latency_verdict
from compiler.errors import UsageError
from compiler.machine import threads
from compiler.measure.process import Worker
from compiler.measure.protocol import Spec
from compiler.measure.workloads import workloads_of
from compiler.progress import Report, unreported
from compiler.records import Measured, Unsteady
from compiler.records.comparison import Timing

LEAST_ROUNDS, MOST_ROUNDS = 5, 12
LATER = 1.5  # a series that is undecided is looked at again when it has so many times the rounds
TURNS, TURN_MS = 4, 300  # of each in a round: so many turns, or so many ms where turns take long
STORED_ROUNDS = 3  # in how many a build measures
INSTEAD = "compare two bundles, which are measured here, or leave latency out with --no-latency"

OpenWorker = Callable[[Spec], Worker]
Pair = tuple[tuple[float, ...], tuple[float, ...]]


class Timed(NamedTuple):
    """Samples of every series, and the baseline's and the candidate's peak memory in bytes.

    Of `memory` there is one a process that ran every workload. `paired`: the rounds of both were measured in turns.
    `looks`: how often the samples were looked at, at most, before it was decided that they are enough.
    """

    timings: tuple[Timing, ...]
    memory: tuple[tuple[float, ...], tuple[float, ...]]
    paired: bool
    looks: int


def measured_here(
    baseline: Opened,
    candidate: Opened,
    gates: Gates,
    *,
    most_rounds: int = MOST_ROUNDS,
    workers: tuple[OpenWorker, OpenWorker] = (Worker, Worker),
    progress: Report = unreported,
) -> Timed:
    """Measure two bundles in turns, until every series is decided or there were `most_rounds` rounds.

    Every round opens both in new processes, because a process is a little faster or slower all its life. In a round
    the two take turns with each workload; who begins changes from turn to turn and from round to round.

    Raises:
        UsageError: they have no workload in common.
        EngineError: a worker died.
    """
    specs = (_spec(baseline), _spec(candidate))
    known, others = (list(workloads_of(spec.manifest)) for spec in specs)
    open_ = [name for name in known if name in others]
    if not open_:
        raise UsageError(
            "latency: the two have no workload in common",
            found=f"{', '.join(known)} and {', '.join(others)}",
            action="compare bundles of one kind of model, or leave latency out with --no-latency",
        )
    looks = looks_at(most_rounds)
    timings: dict[str, Timing] = {}
    memory: tuple[list[float], list[float]] = ([], [])
    for number in range(most_rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        with ExitStack() as stack:
            started = {side: stack.enter_context(workers[side](specs[side])) for side in order}
            pair = (started[0], started[1])
            for name in list(open_):
                progress(f"{name}, round {number + 1}", number, most_rounds)
                series = _turns(pair, name, order)
                timings |= {each: _longer(timings.get(each), each, samples) for each, samples in series.items()}
                if number + 1 in looks and all(_decided(timings[each], gates, len(looks)) for each in series):
                    open_.remove(name)
            if number < LEAST_ROUNDS:  # in these every workload was run
                for peaks, worker in zip(memory, pair, strict=True):
                    peaks.append(float(worker.finish().peak_memory_bytes))
        if not open_:
            break
    return Timed(tuple(timings.values()), (tuple(memory[0]), tuple(memory[1])), paired=True, looks=len(looks))


def stored(baseline: Opened, candidate: Opened) -> Timed:
    """The samples that both certificates hold, split into the rounds of a build.

    Raises:
        UsageError: there are none, or they are of other machines or versions; every difference is named.
    """
    first, second = _measured(baseline), _measured(candidate)
    differences = [
        *_differences(msgspec.structs.asdict(first.machine), msgspec.structs.asdict(second.machine)),
        *_differences(baseline.certificate.versions, candidate.certificate.versions),
        *_differences({"threads": first.engine.threads}, {"threads": second.engine.threads}),
    ]
    if differences:
        raise UsageError(
            "latency: the stored samples cannot be compared",
            found="; ".join(differences),
            expected="the same machine and versions",
            action=INSTEAD,
        )
    after = {series.name: series for series in second.engine.series}
    timings = tuple(
        Timing(
            name=before.name,
            unit=before.unit,
            baseline=_split(before.samples),
            candidate=_split(after[before.name].samples),
        )
        for before in first.engine.series
        if before.better == "lower" and before.name in after
    )
    timings = tuple(timing for timing in timings if min(len(timing.baseline), len(timing.candidate)) > 1)
    if not timings:
        raise UsageError("latency: no series is stored of both", action=INSTEAD)
    peaks = (float(first.engine.peak_memory_bytes),), (float(second.engine.peak_memory_bytes),)
    return Timed(timings, peaks, paired=False, looks=1)


def disturbed(side: Opened) -> tuple[Unsteady, ...]:
    """The engine's stored series that other work on the machine disturbed."""
    measured = side.certificate.measured
    return tuple(each for each in measured.unsteady if each.runner == measured.engine.name) if measured else ()


def looks_at(most_rounds: int) -> tuple[int, ...]:
    """After how many rounds it is asked whether they are enough: 5, 8, 12, 18, ... and the most."""
    looks = [min(LEAST_ROUNDS, most_rounds)]
    while looks[-1] < most_rounds:
        looks.append(min(ceil(looks[-1] * LATER), most_rounds))
    return tuple(looks)


def _spec(side: Opened) -> Spec:
    if side.folder is None or side.manifest is None:
        raise AssertionError("only bundles are measured")
    number = threads(side.manifest.options.threads)
    return Spec(runner="engine", folder=str(side.folder), manifest=side.manifest, threads=number)


def _turns(pair: tuple[Worker, Worker], name: str, order: tuple[int, int]) -> dict[str, Pair]:
    """The samples of both by series: each runs the workload a few times, and each time the other one begins."""
    found: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
    for turn in range(TURNS):
        for side in order if turn % 2 == 0 else order[::-1]:
            for series, samples in pair[side].run(name).series.items():
                found[side].setdefault(series, []).extend(samples)
        if sum(map(sum, found[0].values())) > TURN_MS:
            break
    return {series: (tuple(found[0][series]), tuple(found[1][series])) for series in found[0]}


def _longer(timing: Timing | None, name: str, samples: Pair) -> Timing:
    before = timing or Timing(name=name, unit="ms", baseline=(), candidate=())
    return msgspec.structs.replace(
        before, baseline=(*before.baseline, samples[0]), candidate=(*before.candidate, samples[1])
    )


def _decided(timing: Timing, gates: Gates, looks: int) -> bool:
    return latency_verdict(timing, gates, paired=True, looks=looks).word != "not enough data"


def _measured(side: Opened) -> Measured:
    if (measured := side.certificate.measured) is None:
        raise UsageError(
            f"{side.side.location}: no latency is stored", found="it was built with --no-bench", action=INSTEAD
        )
    return measured


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [f"{name}: {_shown(before.get(name))} and {_shown(after.get(name))}" for name in names]


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)


def _split(samples: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    parts = np.array_split(np.array(samples), min(STORED_ROUNDS, len(samples)))
    return tuple(tuple(part.tolist()) for part in parts)
