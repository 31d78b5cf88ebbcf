"""Quality on a user's data: paired tests on the same items."""

from __future__ import annotations

from math import exp, isclose

import numpy as np

from compiler.compare.gates import Gates
from compiler.compare.intervals import Estimate, difference_of_shares, mcnemar, mean_difference
from compiler.compare.judge import judged
from compiler.compare.sides import Opened
from compiler.errors import UsageError, did_you_mean
from compiler.records import Evaluated, Metric, System
from compiler.records.comparison import Verdict

SIGNIFICANT = 0.05
LEAST_ITEMS = 20  # a bootstrap over fewer says nothing
REFERENCE = "reference"


def verdicts(
    baseline: Opened, candidate: Opened, evaluations: tuple[Evaluated, Evaluated], gates: Gates
) -> list[Verdict]:
    """One for every metric that both have.

    Raises:
        UsageError: the evaluations are of different items or tasks, or a gate names a metric that there is not.
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
    pairs = [(metric, after[metric.name]) for metric in _system(first, baseline).metrics if metric.name in after]
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
    change, test, p_value, doubt = _change(before, after)
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
        code="quality-drop",
        samples=min(before.samples, after.samples),
        test=test,
        p_value=p_value,
        doubt=doubt,
    )


def _change(before: Metric, after: Metric) -> tuple[Estimate, str, float | None, bool]:
    """Candidate less baseline with its interval, the test, its p, and whether there is too little to say anything."""
    first, second = before.items, after.items
    count = len(first)
    averages = count > 0 and len(second) == count and _is_mean(before) and _is_mean(after)
    if averages and set(first) | set(second) <= {0.0, 1.0}:
        lost = sum(was > now for was, now in zip(first, second, strict=True))
        won = sum(now > was for was, now in zip(first, second, strict=True))
        p_value = mcnemar(lost, won)
        change = difference_of_shares(lost, won, count)
        excludes_zero = change.low > 0 or change.high < 0
        return (
            change,
            f"McNemar, {lost + won} of {count} items differ",
            p_value,
            (excludes_zero and p_value >= SIGNIFICANT),
        )
    if averages:
        return mean_difference(second, first), "paired bootstrap over items", None, count < LEAST_ITEMS
    if count and len(second) == count and _is_exponential(before) and _is_exponential(after):
        logs = mean_difference(second, first)
        change = Estimate(*(before.value * (exp(each) - 1) for each in logs))
        return change, "paired bootstrap over the items' logarithms", None, count < LEAST_ITEMS
    half = ((before.high - before.low) ** 2 + (after.high - after.low) ** 2) ** 0.5 / 2
    value = after.value - before.value
    return Estimate(value, value - half, value + half), "both intervals, not paired", None, before.samples < LEAST_ITEMS


def _is_mean(metric: Metric) -> bool:
    return isclose(float(np.mean(metric.items)), metric.value, rel_tol=1e-6, abs_tol=1e-9)


def _is_exponential(metric: Metric) -> bool:
    """As perplexity is of the items' losses."""
    return isclose(exp(min(float(np.mean(metric.items)), 700.0)), metric.value, rel_tol=1e-6)
