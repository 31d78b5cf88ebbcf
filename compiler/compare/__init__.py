"""A candidate against the baseline it is to replace: is it as fast, is it as good, and what changed.

sides ─▶ latency, quality, parity, certificates, content ─▶ verdicts against the gates ─▶ changes ─▶ causes
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from msgspec.structs import replace

from compiler.compare import certified, content, latency, parity, quality
from compiler.compare.causes import causes
from compiler.compare.changes import changes
from compiler.compare.gates import Gates
from compiler.compare.sides import Opened, of_one_task, read, save_baseline
from compiler.compare.speed import latency_verdict, memory_verdict
from compiler.machine import detect
from compiler.measure.process import Worker
from compiler.progress import Report, unreported
from compiler.records import Evaluated
from compiler.records.comparison import Compared, Flips, Verdict

__all__ = ["Gates", "Opened", "compare", "of_one_task", "read", "save_baseline"]


def compare(
    baseline: Opened,
    candidate: Opened,
    gates: Gates,
    *,
    with_latency: bool = True,
    most_rounds: int | None = None,
    workers: tuple[latency.OpenWorker, latency.OpenWorker] = (Worker, Worker),
    evaluations: tuple[Evaluated, Evaluated] | None = None,
    flips: Flips | None = None,
    progress: Report = unreported,
) -> Compared:
    """Judge every metric that both sides tell of, and name what explains a broken gate.

    Args:
        baseline: what is in use.
        candidate: what is to replace it.
        gates: how much worse it may be.
        with_latency: measure two bundles here, or compare the samples that are stored.
        most_rounds: of measurement, at least `latency.LEAST_ROUNDS`; None is `latency.MOST_ROUNDS`.
        workers: open the processes that are measured, the baseline's and the candidate's.
        evaluations: of both on the same items.
        flips: answers that differ, to go into the record.
        progress: called with a message, the steps done and their number.

    Raises:
        UsageError: the two are for different tasks, the stored samples are of different machines or versions, or the
            evaluations of different items.
    """
    start = time.perf_counter()
    of_one_task(baseline, candidate)
    verdicts: list[Verdict] = []
    if evaluations:
        verdicts += quality.verdicts(baseline, candidate, evaluations, gates)
    timed: latency.Timed | None = None
    first, second = baseline.side, candidate.side
    if with_latency and baseline.folder and candidate.folder:
        timed = latency.measured_here(
            baseline,
            candidate,
            gates,
            most_rounds=most_rounds or latency.MOST_ROUNDS,
            workers=workers,
            progress=progress,
        )
    elif with_latency:
        timed = latency.stored(baseline, candidate)
        first, second = (replace(each.side, unsteady=latency.disturbed(each)) for each in (baseline, candidate))
    if timed:
        noisy = {each.series for each in (*first.unsteady, *second.unsteady)}
        verdicts += [
            latency_verdict(timing, gates, paired=timed.paired, looks=timed.looks, steady=timing.name not in noisy)
            for timing in timed.timings
        ]
        verdicts.append(memory_verdict(*timed.memory, gates))
    verdicts += parity.verdicts(baseline.certificate, candidate.certificate, gates)
    verdicts.append(certified.verdict(baseline.certificate, candidate.certificate, gates))
    verdicts += content.verdicts(baseline, candidate, gates)
    rows = changes(baseline, candidate)
    reasons = tuple(verdict.code for verdict in verdicts if verdict.broken)
    return Compared(
        verdict="fail" if reasons else "pass",
        reasons=reasons,
        undecided=tuple(f"{each.subject}:{each.name}" for each in verdicts if each.word == "not enough data"),
        baseline=first,
        candidate=second,
        verdicts=tuple(verdicts),
        causes=tuple(causes(verdicts, rows)),
        changes=tuple(rows),
        timings=timed.timings if timed else (),
        flips=flips,
        machine=detect(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - start,
    )
