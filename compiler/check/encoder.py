"""Parity of an encoder: the same texts, alone and in padded batches, through the engine and through PyTorch.

Every answer is compared with PyTorch's to the same feed, so the limits know nothing of padding. What padding alone
changes is compared too: beyond rounding, nothing. Where it changes PyTorch's answers, the manifest says so, and the
texts of a batch are of one length, as in the runtime.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import chain

import numpy as np

from compiler.check.compare import IncomparableError, max_abs_error, require_comparable
from compiler.check.examples import Examples
from compiler.check.feeds import Feeds, Text
from compiler.check.limits import Limits
from compiler.check.meanings import Meaning, Pool, answers, judge, judge_same, meaning
from compiler.check.noise import exactly, noise
from compiler.check.references import Compared, OpenReference, ReferenceModel
from compiler.check.rounding import rounded_answers, rounding_findings
from compiler.check.steps import counted, step
from compiler.checkpoint.rounded import Method
from compiler.engines import Session
from compiler.pooling import Vectors
from compiler.records import Budget, Finding, Manifest
from compiler.records.findings import finding
from compiler.tasks import TASKS

Answers = list[np.ndarray]
SAME = 1e-4  # of the largest number: two ways to compute one formula in float32, sums over a whole context included
SINGLE = ("vectors", "values")  # kinds of answers that are not counted

Sides = tuple[Answers, Answers]  # the engine's and the reference's


def compare_encoder(
    session: Session,
    manifest: Manifest,
    open_reference: OpenReference,
    text: Text,
    budget: Budget,
    *,
    method: Method | None = None,
) -> Compared:
    """All findings; the reference's noise is that of the short texts. `method` is how the engine's products round."""
    task, asked = manifest.task, Examples(manifest, text)
    run = functools.partial(_run, session, [tensor.name for tensor in manifest.inputs])
    kind = meaning(task, manifest.outputs[0].shape[-1], text.config)
    pool = functools.partial(_pool, manifest, text)
    # The longest text comes first: some models stay with what the first text that they read made of them.
    rare = asked.rare()
    feeds = [asked.longest(), asked.batch(0), *asked.alone(), *rare]

    def ask(reference: ReferenceModel) -> Answers:
        told = counted(feeds, "PyTorch's own noise")
        return list(chain.from_iterable(answers(task, reference.run(feed), feed) for feed in told))

    exact, source = exactly(open_reference, ask)
    rounding = rounded_answers(open_reference, method, ask, exact)
    with closing(open_reference("float32")) as reference:
        outputs = [reference.run(feed) for feed in counted(feeds, "PyTorch's answers")]
        theirs = list(chain.from_iterable(map(functools.partial(answers, task), outputs, feeds)))
        backwards = {name: array[::-1].copy() for name, array in feeds[1].items()}
        reordered = answers(task, reference.run(backwards), backwards)[::-1]
        known = len(theirs) - sum(len(answers(task, *each)) for each in zip(outputs[-len(rare) :], rare, strict=True))
        of_long, own, of_rare = (
            noise(theirs[part], exact[part], source) for part in (slice(1), slice(1, known), slice(known, None))
        )
        own = own.beside(_error(theirs[1 : 1 + len(reordered)], reordered))
        of_long = of_long.at_least(own)
        limits = Limits(manifest.precision, budget, own)
        same = functools.partial(judge_same, kind, limits=limits, pool=pool)

        def judged(ours: Answers, theirs: Answers) -> list[Finding]:
            return judge(kind, ours, theirs, limits, pool)

        def both(feed: Feeds, expected: Feeds | None = None) -> Sides:
            return _sides(task, feed, run(feed), reference.run(feed) if expected is None else expected)

        try:
            long, first, *rest = map(both, counted(feeds, "the engine's answers"), outputs)
            alone, unusual = _joined(rest[: -len(rare)]), _joined(rest[-len(rare) :])
            short = _joined([first, alone])
            findings = [
                *_errors("output", short, limits),
                *_errors("longest", long, Limits(manifest.precision, budget, of_long)),
                *_errors("vocabulary", unusual, Limits(manifest.precision, budget, of_rare.at_least(own))),
                *rounding_findings("output", *short, rounding.of(slice(1, known)), limits),
                *rounding_findings("longest", *long, rounding.of(slice(1)), limits),
                *rounding_findings("vocabulary", *unusual, rounding.of(slice(known, None)), limits),
                *_judged(kind, asked, both, [long, first, alone], judged),
                *_padding(same, limits, first, alone),
                _company(same, run, task, asked),
            ]
            if kind == "vectors":
                findings.append(_pooling(pool, theirs, list(map(reference.vectors, outputs, feeds))))
        except IncomparableError as error:
            findings = [error.args[0]]
    return Compared(findings, own, feeds[0]["input_ids"].shape[-1])


def _run(session: Session, names: Sequence[str], feed: Feeds) -> Feeds:
    return session.run({name: feed[name] for name in names})


def _sides(task: str, feed: Feeds, ours: Feeds, theirs: Feeds) -> Sides:
    for name in TASKS[task].outputs:
        require_comparable(ours[name], theirs[name])
    return answers(task, ours, feed), answers(task, theirs, feed)


def _judged(
    kind: Meaning,
    asked: Examples,
    both: Callable[[Feeds], Sides],
    sides: list[Sides],
    judged: Callable[[Answers, Answers], list[Finding]],
) -> list[Finding]:
    """What the answers mean. While a share of texts that agree is undecided, twice as many texts are asked.

    `sides` are of the longest text, the first batch, and its texts alone, which are no further texts to count.
    """
    if kind not in SINGLE:
        sides = sides[:2]
    done, wanted = 1, asked.batches
    while True:
        sides += [both(asked.batch(number)) for number in counted(range(done, wanted), "batches of texts")]
        findings = judged(*_joined(sides))
        if wanted >= asked.most or not any(finding.undecided for finding in findings):
            return findings
        done, wanted = wanted, min(2 * wanted, asked.most)


def _padding(same: Callable[..., Finding], limits: Limits, padded: Sides, alone: Sides) -> list[Finding]:
    """What padding changes in the engine's answers. Rounding is judged less what it changes in PyTorch's."""
    padded_ours, padded_theirs = padded
    ours, theirs = (each[: len(padded_ours)] for each in alone)
    less = [one - (their - other) for one, their, other in zip(padded_ours, padded_theirs, theirs, strict=True)]
    return [
        limits.by_noise("padding.max_abs_error", _error(less, ours), len(ours)),
        same(padded_ours, ours, name="padding"),
    ]


def _company(same: Callable[..., Finding], run: Callable[[Feeds], Feeds], task: str, asked: Examples) -> Finding:
    """What texts of rare tokens in the same batch, as long as they, change in the engine's answers to others."""
    step("texts beside others")
    alone, company = asked.company()
    single = [answer for feed in alone for answer in answers(task, run(feed), feed)]
    beside = [answers(task, run(feed), feed)[: len(single)] for feed in company]
    found = [same(each, single, name="company") for each in beside]
    worst = (min if found[0].better == "higher" else max)(found, key=lambda finding: finding.value)
    return next((finding for finding in found if not finding.passed), worst)


def _pool(manifest: Manifest, text: Text, texts: Sequence[np.ndarray]) -> np.ndarray:
    """Token vectors (tokens, hidden) of each text to the vectors that the runtime makes of them, (texts, width)."""
    make = Vectors(manifest.pooling, text.folder, texts[0].shape[-1])
    return np.concatenate([make(states[None], np.ones((1, len(states)), bool)) for states in texts])


def _pooling(pool: Pool, states: Answers, expected: list[np.ndarray]) -> Finding:
    """The runtime's pooling and modules against the checkpoint's in PyTorch, on PyTorch's own token vectors.

    They are judged as rounding, whatever the precision: both compute in float32.
    """
    ours, theirs = pool(states), np.concatenate(expected)
    require_comparable(ours, theirs)
    return finding(
        "pooling.max_relative_error",
        max_abs_error(ours, theirs) / (_largest([theirs]) or 1.0),
        len(theirs),
        limit=SAME,
        basis="rounding: the same token vectors, pooled by the checkpoint's modules in PyTorch",
    )


def _errors(name: str, sides: Sides, limits: Limits) -> list[Finding]:
    ours, theirs = sides
    error, scale, count = _error(ours, theirs), _largest(theirs), sum(answer.size for answer in theirs)
    return [
        limits.by_noise(f"{name}.max_abs_error", error, count),
        finding(f"{name}.max_relative_error", error / scale if scale else 0.0, count),
    ]


def _joined(sides: Sequence[Sides]) -> Sides:
    return [each for ours, _ in sides for each in ours], [each for _, theirs in sides for each in theirs]


def _error(ours: Answers, theirs: Answers) -> float:
    return max(max_abs_error(a, b) for a, b in zip(ours, theirs, strict=True))


def _largest(found: Answers) -> float:
    return max(float(np.max(np.abs(answer), initial=0.0)) for answer in found)
