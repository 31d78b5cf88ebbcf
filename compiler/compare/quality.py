"""Quality on a user's data: paired tests on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, isclose, log
from typing import NamedTuple

import numpy as np

from compiler.compare.gates import Gates
from compiler.compare.judge import judged
from compiler.compare.sides import Opened
from compiler.errors import UsageError, did_you_mean
from compiler.records import Evaluated, Metric, System
from compiler.records.comparison import Verdict
from compiler.statistics import Estimate, difference_of_draws, difference_of_shares, mcnemar, mean_difference

SIGNIFICANT = 0.05
LEAST_ITEMS = 20  # a bootstrap over fewer says nothing
REFERENCE = "reference"


def verdicts(
    baseline: Opened, candidate: Opened, evaluations: tuple[Evaluated, Evaluated], gates: Gates
) -> list[Verdict]:
    """One for every metric that both have and that tells of quality: what answers cost is measured in turns instead.

    How much a metric drops under changed texts is not judged by itself: the metric under them is.

    Raises:
        UsageError: the evaluations are of different items or tasks, the candidate's lacks a metric of the baseline's,
            or a gate names a metric that there is not.
    """
    first, second = evaluations
    for what, one, other in (("tasks", first.task, second.task), ("data", first.data_digest, second.data_digest)):
        if one != other:
            raise UsageError(
                f"quality: the evaluations are of different {what}",
                found=f"{first.data} ({one[:16]}) and {second.data} ({other[:16]})",
                expected="the same items in the same order",
                action="evaluate both bundles on one file, with one --limit and --seed",
            )
    after = {metric.name: metric for metric in _system(second, candidate).metrics}
    told = [
        metric
        for metric in _system(first, baseline).metrics
        if not metric.is_cost and not metric.name.endswith(".drop")
    ]
    if gates.quality.enforce and (missing := [metric.name for metric in told if metric.name not in after]):
        raise UsageError(
            "quality: metrics of the baseline that nobody evaluated of the candidate",
            found=", ".join(missing[:5]) + (", ..." if len(missing) > 5 else ""),
            expected="all of the baseline's, so that each can be judged",
            action="evaluate the candidate with the options that the baseline was evaluated with",
        )
    pairs = [(metric, after[metric.name]) for metric in told if metric.name in after]
    names = [metric.name for metric, _ in pairs]
    for name in gates.quality.metrics:
        if name not in names:
            raise UsageError(
                f"gate quality.metrics.{name}: no such metric was evaluated of both",
                expected=", ".join(names) or "none",
                action=did_you_mean(name, names) or "evaluate it, or leave the gate out",
            )
    return [_verdict(before, after, gates) for before, after in pairs]


def _system(evaluated: Evaluated, side: Opened) -> System:
    """The side's own system, by its digest; a certificate has none, so that the only bundle is taken for it."""
    bundles = [system for system in evaluated.systems if system.name != REFERENCE]
    own = [system for system in bundles if system.digest == side.digest] if side.digest else bundles
    if len(own) != 1 and not (own and side.digest):
        raise UsageError(
            f"quality: no evaluation of {side.side.location} on {evaluated.data}",
            found=", ".join(f"{system.location} ({system.digest[:16]})" for system in bundles) or "no bundle",
            expected=f"the bundle with the digest {side.digest[:16]}" if side.digest else "one bundle",
            action="evaluate it, and name the files in the order of the two that are compared",
        )
    return own[0]


def _verdict(before: Metric, after: Metric, gates: Gates) -> Verdict:
    tested = _tested(before, after)
    change = tested.change
    if before.better == "higher":
        change = Estimate(-change.value, -change.high, -change.low)
    return judged(
        "quality",
        before.name,
        (before.value, after.value),
        change,
        unit=before.unit,
        better=before.better,
        margin=gates.quality.metrics.get(before.name, gates.quality.max_drop * abs(before.value)),
        enforce=gates.quality.enforce,
        code=f"quality-drop:{before.name}",
        samples=min(before.samples, after.samples),
        test=tested.test,
        p_value=tested.p_value,
        least=tested.least,
    )


class Tested(NamedTuple):
    """Candidate less baseline with its interval; `least` more samples are needed before anything can be said."""

    change: Estimate
    test: str
    least: int
    p_value: float | None = None


def _tested(before: Metric, after: Metric) -> Tested:
    """By the items where both have scores of these, else by the same resampled items."""
    first, second, weights = before.items, after.items, before.weights
    count = min(before.samples, after.samples)
    paired = len(first) == len(second) > 0 and before.weights == after.weights
    missing = max(0, LEAST_ITEMS - count)
    if paired and _is_mean(before) and _is_mean(after):
        if not weights and set(first) | set(second) <= {0.0, 1.0}:
            return _by_mcnemar(first, second)
        return Tested(mean_difference(second, first, weights), "paired bootstrap over items", missing)
    if paired and _is_geometric(before) and _is_geometric(after):
        logs = mean_difference([log(each) for each in second], [log(each) for each in first], weights)
        change = Estimate(*(before.value * (exp(each) - 1) for each in logs))
        return Tested(change, "paired bootstrap over the items' logarithms", missing)
    value = after.value - before.value
    if len(before.draws) == len(after.draws) > 0 and before.drawn == after.drawn and before.samples == after.samples:
        left_out = before.drawn == "jackknife"
        change = difference_of_draws(value, after.draws, before.draws, left_out=left_out)
        return Tested(change, f"paired {before.drawn} over items", missing)
    half = ((before.high - before.low) ** 2 + (after.high - after.low) ** 2) ** 0.5 / 2
    return Tested(Estimate(value, value - half, value + half), "both intervals, not paired", missing)


def _by_mcnemar(first: Sequence[float], second: Sequence[float]) -> Tested:
    count = len(first)
    lost = sum(was > now for was, now in zip(first, second, strict=True))
    won = sum(now > was for was, now in zip(first, second, strict=True))
    change = difference_of_shares(lost, won, count)
    excludes_zero = change.low > 0 or change.high < 0
    least = _until_significant(lost, won, count) if excludes_zero else 0
    return Tested(change, f"McNemar, {lost + won} of {count} items differ", least, mcnemar(lost, won))


def _until_significant(lost: int, won: int, count: int) -> int:
    """How many more items would make the test say what the interval says, if as many of them differed."""
    times = 1.0
    while mcnemar(round(lost * times), round(won * times)) >= SIGNIFICANT:
        times *= 1.05
    return ceil(count * (times - 1))


def _is_mean(metric: Metric) -> bool:
    mean = float(np.average(metric.items, weights=metric.weights or None))
    return isclose(mean, metric.value, rel_tol=1e-6, abs_tol=1e-9)


def _is_geometric(metric: Metric) -> bool:
    """As perplexity is of the items' own."""
    if min(metric.items) <= 0:
        return False
    mean = float(np.average(np.log(metric.items), weights=metric.weights or None))
    return isclose(exp(min(mean, 700.0)), metric.value, rel_tol=1e-6)
