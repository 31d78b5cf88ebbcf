"""Parity of an encoder: the same texts, alone and in padded batches, through the engine and through PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import chain

import numpy as np

from compiler.check.compare import incomparable, max_abs_error
from compiler.check.examples import Examples, examples
from compiler.check.feeds import Feeds, Text
from compiler.check.limits import Limits, floor, shown
from compiler.check.meanings import answers, judge, judge_padding, meaning
from compiler.check.references import OpenReference
from compiler.engines import Session
from compiler.profile import Budget
from compiler.records import Finding, Manifest
from compiler.tasks import TASKS


def compare_encoder(
    session: Session, manifest: Manifest, open_reference: OpenReference, text: Text, budget: Budget
) -> tuple[list[Finding], float]:
    """All findings, and the reference's noise as an absolute difference of the output."""
    task = manifest.task
    asked = examples(manifest, text)
    first = asked.together[0]
    with closing(open_reference("float64")) as reference:
        exact = answers(task, reference.run(first), first)
    with closing(open_reference("float32")) as reference:
        expected = [reference.run(feed) for feed in asked.feeds]
        backwards = {name: array[::-1].copy() for name, array in first.items()}
        reordered = answers(task, reference.run(backwards), backwards)[::-1]
    theirs = _answers(task, asked, expected)
    plain, alone = _first_batch(asked, theirs)
    noise = max(
        _error(plain, exact),
        _error(plain, reordered),
        _error(plain, alone),
        floor(_largest(plain)),
    )
    limits = Limits(manifest.precision, budget, noise)

    actual = [session.run(feed) for feed in asked.feeds]
    for our, their in zip(actual, expected, strict=True):
        for name in TASKS[task].outputs:
            if failed := incomparable(our[name], their[name]):
                return [failed], noise
    ours = _answers(task, asked, actual)
    count = sum(answer.size for answer in theirs)
    error, scale = _error(ours, theirs), _largest(theirs)
    padded, single = _first_batch(asked, ours)
    kind = meaning(manifest, text.config)
    return [
        limits.by_noise("output.max_abs_error", error, count),
        shown("output.max_relative_error", error / scale if scale else 0.0, count, "ratio"),
        limits.by_noise("padding.max_abs_error", _error(padded, single), len(single)),
        *judge(kind, ours, theirs, limits, manifest.pooling),
        judge_padding(kind, padded, single, limits, manifest.pooling),
    ], noise


def _answers(task: str, asked: Examples, outputs: Sequence[Feeds]) -> list[np.ndarray]:
    """One answer a text, over all feeds."""
    return list(
        chain.from_iterable(answers(task, output, feed) for output, feed in zip(outputs, asked.feeds, strict=True))
    )


def _first_batch(asked: Examples, found: Sequence[np.ndarray]) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Of the answers to all feeds, those to the first batch's texts: in the batch, and alone."""
    batch = len(asked.alone)
    return found[:batch], found[-1 - batch : -1]


def _error(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    return max(max_abs_error(a, b) for a, b in zip(ours, theirs, strict=True))


def _largest(found: Sequence[np.ndarray]) -> float:
    return max(float(np.max(np.abs(answer), initial=0.0)) for answer in found)
