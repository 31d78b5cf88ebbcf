"""Parity of a decoder: what it says about real text, what it generates, and whether its cache changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from compiler.check.compare import IncomparableError, Scores, max_abs_error, require_comparable, scores
from compiler.check.examples import spread_tokens
from compiler.check.feeds import Text
from compiler.check.generated import (
    cache_of,
    centered_cosine,
    forced,
    greedy_findings,
    prefill,
    same_answers,
)
from compiler.check.limits import LOGITS, Limits
from compiler.check.longest import Longest, longest_findings, positions
from compiler.check.noise import exactly, noise
from compiler.check.references import Compared, OpenReference, ReferenceModel
from compiler.check.rounding import Rounded, rounded_answers, rounding_findings
from compiler.check.steps import counted, step
from compiler.checkpoint.rounded import Method
from compiler.engines import Session
from compiler.records import Budget, Finding, Manifest
from compiler.records.findings import finding

WINDOWS, WINDOW = 6, 256  # pieces of running text, and tokens in each
MOST = 96  # windows, where a share stays undecided
NOISE_WINDOW = 128  # tokens of the text on which the reference's noise is taken
PROMPTS, PROMPT, NEW_TOKENS = 4, 24, 64  # greedy generation; the prompts are windows' beginnings
WITHOUT_CACHE = (2, 32)  # windows and tokens for a model that reads the whole text again for every token
RARE, EVERY = (12, 64), 8  # texts of rare tokens and tokens in each; every so manieth position is compared
UNEQUAL, UNEQUAL_STEPS = (5, 24, 12), 8  # tokens of the prompts of one batch, and decoding steps


def compare_decoder(
    session: Session,
    manifest: Manifest,
    open_reference: OpenReference,
    text: Text,
    budget: Budget,
    *,
    method: Method | None = None,
) -> Compared:
    """All findings; the reference's noise, an absolute difference of the logits, is that of the short texts.

    `method` is how the engine's products round.
    """
    context, growing = manifest.context_length, cache_of(manifest).layout != "none"
    count, tokens = (WINDOWS, min(WINDOW, context)) if growing else (WITHOUT_CACHE[0], min(WITHOUT_CACHE[1], context))
    windows = text.windows(MOST, tokens)
    sample, row = windows[0][None, :NOISE_WINDOW], text.long(context)[None]
    keep = positions(context, text.config) if growing else np.array([context - 2, context - 1])
    rare = spread_tokens(manifest.vocabulary, (RARE[0], min(RARE[1], context)))
    often = np.arange(rare.shape[1])[::-EVERY][::-1] if growing else np.array([rare.shape[1] - 1])

    def ask(reference: ReferenceModel) -> list[np.ndarray]:
        # The longest text comes first: some models stay with what the first text that they read made of them.
        asked = ((row, keep), (sample, None), (rare, often))
        return [_logits(reference, *each) for each in counted(asked, "PyTorch's answers, and its own noise")]

    exact, source = exactly(open_reference, ask)
    rounding = rounded_answers(open_reference, method, ask, exact)
    with closing(open_reference("float32")) as reference:
        expected, plain, unusual = ask(reference)
        own = noise([plain], exact[1:2], source)
        limits = Limits(manifest.precision, budget, own, LOGITS)
        of_long = Limits(manifest.precision, budget, noise([expected], exact[:1], source).at_least(own), LOGITS)
        of_rare = Limits(manifest.precision, budget, noise([unusual], exact[2:], source).at_least(own), LOGITS)
        try:
            findings = [
                *_text_findings(session, manifest, reference, windows, limits, count=count),
                *_sample_findings(session, manifest, sample, plain, limits, rounding.of(slice(1, 2))),
                *longest_findings(session, manifest, Longest(row, keep, expected, of_long, rounding.of(slice(1)))),
                *_rare_findings(session, manifest, rare, unusual, of_rare, often, rounding.of(slice(2, None))),
                *_generated_findings(session, manifest, reference, windows, limits),
                *_batch_findings(session, manifest, windows[0], limits),
            ]
        except IncomparableError as error:
            findings = [error.args[0]]
    return Compared(findings, own, context)


def _sample_findings(  # noqa: PLR0917
    session: Session, manifest: Manifest, sample: np.ndarray, expected: np.ndarray, limits: Limits, rounding: Rounded
) -> list[Finding]:
    """The text on which the reference's noise is taken: there is no more to compare where that alone is judged."""
    if not rounding.errors:
        return []
    actual = prefill(session, manifest, sample)
    require_comparable(actual, expected)
    return rounding_findings("output", [actual], [expected], rounding, limits)


def _rare_findings(  # noqa: PLR0917
    session: Session,
    manifest: Manifest,
    rare: np.ndarray,
    expected: np.ndarray,
    limits: Limits,
    often: np.ndarray,
    rounding: Rounded,
) -> list[Finding]:
    """Texts of tokens that running text lacks."""
    step("tokens that running text lacks")
    actual = prefill(session, manifest, rare, None, often)
    require_comparable(actual, expected)
    return [
        limits.by_noise("vocabulary.max_abs_error", max_abs_error(actual, expected), rare.size),
        *rounding_findings("vocabulary", [actual], [expected], rounding, limits),
    ]


def _logits(reference: ReferenceModel, input_ids: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """The reference's logits for rows without padding."""
    numbered = np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape).copy()
    return reference.logits(input_ids, np.ones_like(input_ids), numbered, keep)


def _text_findings(
    session: Session,
    manifest: Manifest,
    reference: ReferenceModel,
    windows: Sequence[np.ndarray],
    limits: Limits,
    *,
    count: int,
) -> list[Finding]:
    """Running text, teacher-forced: every position's distribution, and the perplexity of the whole.

    `count` windows are read to begin with, and twice as many while the share of agreement is undecided.
    """
    parts: list[Scores] = []
    error, scale = 0.0, 0.0
    while True:
        for window in counted(windows[len(parts) : count], "windows of running text"):
            expected = _logits(reference, window[None])
            actual = prefill(session, manifest, window[None])
            require_comparable(actual, expected)
            error = max(error, max_abs_error(actual, expected))
            scale = max(scale, float(np.abs(expected).max()))
            parts.append(scores(actual[0, :-1], expected[0, :-1], window[1:]))
        score = Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        agreement = limits.by_share("top1.agreement", score.agree, "min_top1_agreement")
        if not agreement.undecided or len(parts) < count:
            break
        count *= 2
    samples = len(score.kl)
    ours, theirs = float(np.exp(score.nll.mean())), float(np.exp(score.reference_nll.mean()))
    ratio = ours / theirs
    standard_error = ratio * float(np.std(score.nll - score.reference_nll)) / samples**0.5
    return [
        limits.by_noise("output.max_abs_error", error, samples),
        finding("output.max_relative_error", error / scale if scale else 0.0, samples),
        agreement,
        limits.by_budget("kl.mean", float(score.kl.mean()), samples, "max_kl_divergence"),
        finding("kl.max", float(score.kl.max()), samples),
        finding("perplexity.reference", theirs, samples),
        finding("perplexity.engine", ours, samples),
        limits.by_budget("perplexity.ratio", ratio, samples, "max_perplexity_ratio"),
        finding("perplexity.ratio.standard_error", standard_error, samples),
    ]


def _generated_findings(
    session: Session, manifest: Manifest, reference: ReferenceModel, windows: Sequence[np.ndarray], limits: Limits
) -> list[Finding]:
    """The reference's greedy answers, decoded step by step and read in one call."""
    context, tokens = manifest.context_length, len(windows[0])
    prompt = min(PROMPT, context // 2)
    steps = min(NEW_TOKENS, tokens, context - prompt)
    decoded: list[np.ndarray] = []
    expected: list[np.ndarray] = []
    continued: list[np.ndarray] = []
    same: list[Finding] = []
    while True:
        chosen = windows[len(decoded) * PROMPTS : (len(decoded) + 1) * PROMPTS]
        step("generated answers", len(decoded) * PROMPTS, len(decoded) * PROMPTS + len(chosen))
        prompts = np.stack([window[:prompt] for window in chosen])
        continued.append(reference.generate(prompts, np.ones_like(prompts), steps))
        whole = np.concatenate([prompts, continued[-1][:, :-1]], axis=1)
        expected.append(_logits(reference, whole)[:, prompt - 1 :])
        decoded.append(forced(session, manifest, list(prompts), continued[-1]))
        require_comparable(decoded[-1], expected[-1])
        same = same or same_answers("cache", decoded[0], prefill(session, manifest, whole)[:, prompt - 1 :], limits)
        found = greedy_findings(np.concatenate(decoded), np.concatenate(expected), np.concatenate(continued), limits)
        if not found[0].undecided or len(windows) <= len(decoded) * PROMPTS:
            return found + same


def _batch_findings(session: Session, manifest: Manifest, window: np.ndarray, limits: Limits) -> list[Finding]:
    """Prompts of unequal lengths beside one of rare tokens, against the same prompts alone."""
    step("prompts beside others")
    longest = min(PROMPT, manifest.context_length // 2)
    prompts = [window[: min(length, longest)] for length in UNEQUAL]
    steps = np.stack([window[len(prompt) : len(prompt) + UNEQUAL_STEPS] for prompt in prompts])
    rare = np.linspace(0, manifest.vocabulary - 1, longest).astype(np.int64)
    batched = forced(session, manifest, [*prompts, rare], np.concatenate([steps, steps[:1]]))[:-1]
    single = np.concatenate([forced(session, manifest, [prompt], steps[i : i + 1]) for i, prompt in enumerate(prompts)])
    cosines = centered_cosine(batched, single)
    return [
        *same_answers("batch", batched, single, limits),
        limits.by_budget("company.cosine.min", float(cosines.min()), cosines.size, "min_company_cosine"),
    ]
