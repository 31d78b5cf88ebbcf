"""Verdicts on latency and on peak memory."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from compiler.compare.gates import Gates
from compiler.compare.judge import exactly, judged
from compiler.records.comparison import Timing, Verdict, Word
from compiler.statistics import Estimate, ratio_of_rounds


def latency_verdict(timing: Timing, gates: Gates, *, paired: bool, looks: int = 1, steady: bool = True) -> Verdict:
    """By the ratio of medians; see `statistics.ratio_of_rounds`.

    What is not `steady` cannot show that the candidate is as fast: other work may have made the baseline slow.
    """
    before, after = (np.concatenate(rounds) for rounds in (timing.baseline, timing.candidate))
    ratio = ratio_of_rounds(timing.candidate, timing.baseline, paired=paired, looks=looks)
    verdict = judged(
        "latency",
        timing.name,
        (float(np.median(before)), float(np.median(after))),
        Estimate(*(value - 1 for value in ratio)),
        unit=timing.unit,
        relative=True,
        margin=gates.latency.max_increase,
        enforce=gates.latency.enforce,
        code=f"latency-increase:{timing.name}",
        samples=min(len(before), len(after)),
        test=f"bootstrap over {len(timing.baseline)} {'rounds in turns' if paired else 'stored rounds'}",
    )
    if steady:
        return verdict
    word: Word = verdict.word if verdict.word == "worse" else "not enough data"
    return replace(verdict, word=word, more=None, steady=False, test=f"{verdict.test}, not steady")


def memory_verdict(baseline: tuple[float, ...], candidate: tuple[float, ...], gates: Gates) -> Verdict:
    """Of the peaks of processes that were measured in turns, in bytes; a single one of each is taken as it is."""
    before, after = float(np.median(baseline)), float(np.median(candidate))
    change = exactly(after / before - 1)
    if several := min(len(baseline), len(candidate)) > 1:
        ratio = ratio_of_rounds([[peak] for peak in candidate], [[peak] for peak in baseline], paired=True)
        change = Estimate(*(value - 1 for value in ratio))
    return judged(
        "memory",
        "peak",
        (before, after),
        change,
        unit="bytes",
        relative=True,
        margin=gates.memory.max_increase,
        enforce=gates.memory.enforce,
        code="memory-increase:peak",
        samples=min(len(baseline), len(candidate)),
        test="bootstrap over processes" if several else "one process each",
    )
