"""A text that fills the context, read in one call, and its last tokens read one by one.

It is compared everywhere if it is short, else where a model may change its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.check.compare import max_abs_error, require_comparable, scores
from compiler.check.feeds import Feeds
from compiler.check.generated import forced, prefill, same_answers
from compiler.check.limits import Limits
from compiler.check.rounding import Rounded, rounding_findings
from compiler.check.steps import step
from compiler.engines import Session
from compiler.records import Finding, Manifest
from compiler.records.findings import finding

EVERY = 512  # tokens up to which every position is compared
EVEN = 64  # positions, evenly spread
END = 8  # last tokens, each fed by itself as well


def positions(context: int, config: Mapping[str, Any]) -> np.ndarray:
    """Positions of a text of `context` tokens at which to compare, ascending (kept,) int64.

    In a long text those are the last ones, some evenly spread, and those around every length that the configuration
    names, whole and halved: whatever a model does differently from there on (a sliding window, chunks, other rotary
    frequencies, block-sparse attention), it takes the number from its configuration.
    """
    if context <= EVERY:
        return np.arange(context)
    named = {length for number in _numbers(config) for length in (number, number // 2)}
    around = {at for length in named for at in range(length - 1, length + 3) if 0 <= at < context}
    even = np.linspace(0, context - 1, EVEN).astype(np.int64)
    last = np.arange(context - 2 * END, context)
    return np.unique(np.concatenate([even, last, np.array(sorted(around), dtype=np.int64)]))


def _numbers(value: Any) -> Iterator[int]:
    """Every whole number in a nest of configuration values."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


@dataclass(frozen=True)
class Longest:
    """What a decoder is asked about such a text.

    Attributes:
        tokens: (1, context) int64.
        keep: the positions, as `positions` gives them.
        expected: (1, kept, vocabulary), the reference's logits there.
        limits: those of the reference's noise on this text.
        rounding: what the reference answers there where its products are rounded.
    """

    tokens: np.ndarray
    keep: np.ndarray
    expected: np.ndarray
    limits: Limits
    rounding: Rounded


def longest_findings(
    session: Session, manifest: Manifest, asked: Longest, constants: Feeds | None = None
) -> list[Finding]:
    """What the engine answers. `constants` as in `Session.decode`. Raises IncomparableError."""
    step(f"a text of {asked.tokens.shape[1]} tokens")
    actual = prefill(session, manifest, asked.tokens, constants, asked.keep)
    require_comparable(actual, asked.expected)
    score = scores(actual[0], asked.expected[0])
    error, samples = max_abs_error(actual, asked.expected), len(score.kl)
    findings = [
        asked.limits.by_noise("longest.max_abs_error", error, samples),
        *rounding_findings("longest", [actual], [asked.expected], asked.rounding, asked.limits),
        asked.limits.by_budget("longest.kl.mean", float(score.kl.mean()), samples, "max_kl_divergence"),
        finding("longest.top1.agreement", float(score.agree.mean()), samples),
    ]
    length = asked.tokens.shape[1]
    last = np.arange(length - END - 1, length - 1)
    if last[0] < 0 or not np.isin(last, asked.keep).all():  # too short, or a model that has no cache
        return findings
    decoded = forced(session, manifest, [asked.tokens[0, :-END]], asked.tokens[:, -END:], constants)
    prefilled = actual[:, np.searchsorted(asked.keep, last)]
    return findings + same_answers("longest.cache", decoded, prefilled, asked.limits)
