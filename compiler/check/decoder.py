"""Parity of a decoder: what it says about real text, what it generates, and whether its cache changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from compiler.check.compare import INCOMPARABLE, Scores, incomparable, max_abs_error, scores
from compiler.check.feeds import Text
from compiler.check.generated import cache_of, forced, greedy_findings, prefill, same_answers
from compiler.check.limits import Limits, floor, shown
from compiler.check.references import OpenReference, ReferenceModel
from compiler.engines import Session
from compiler.profile import Budget
from compiler.records import Finding, Manifest

WINDOWS, WINDOW = 6, 256  # pieces of running text, and tokens in each
NOISE_WINDOW = 128  # tokens of the text on which the reference's noise is taken
PROMPTS, PROMPT, NEW_TOKENS = 4, 24, 64  # greedy generation
WITHOUT_CACHE = (2, 32)  # windows and tokens for a model that reads the whole text again for every token
UNEQUAL, UNEQUAL_STEPS = (5, 24, 12), 8  # tokens of the prompts of one batch, and decoding steps


def compare_decoder(
    session: Session, manifest: Manifest, open_reference: OpenReference, text: Text, budget: Budget
) -> tuple[list[Finding], float]:
    """All findings, and the reference's noise as an absolute difference of the logits."""
    context = manifest.context_length
    count, tokens = WITHOUT_CACHE if cache_of(manifest).layout == "none" else (WINDOWS, WINDOW)
    windows = text.windows(count, min(tokens, context))
    prompts = np.stack([window[: min(PROMPT, context // 2)] for window in windows[:PROMPTS]])
    new_tokens = min(NEW_TOKENS, tokens, context - prompts.shape[1])

    sample = windows[0][None, :NOISE_WINDOW]
    with closing(open_reference("float64")) as reference:
        exact = _logits(reference, sample)
    with closing(open_reference("float32")) as reference:
        noise = _noise(reference, sample, exact)
        limits = Limits(manifest.precision, budget, noise)
        findings = _text_findings(session, manifest, reference, windows, limits)
        if findings[0].name in INCOMPARABLE:
            return findings, noise
        continuation = reference.generate(prompts, np.ones_like(prompts), new_tokens)
        whole = np.concatenate([prompts, continuation[:, :-1]], axis=1)
        expected = _logits(reference, whole)[:, prompts.shape[1] - 1 :]

    decoded = forced(session, manifest, list(prompts), continuation)
    if failed := incomparable(decoded, expected):
        return [*findings, failed], noise
    findings += greedy_findings(decoded, expected, continuation, limits)
    prefilled = prefill(session, manifest, whole)[:, prompts.shape[1] - 1 :]
    findings += same_answers("cache", decoded, prefilled, limits)

    lengths = [min(length, prompts.shape[1]) for length in UNEQUAL]
    unequal = [window[:length] for window, length in zip(windows[0:1] * len(lengths), lengths, strict=True)]
    steps = np.stack([windows[0][length : length + UNEQUAL_STEPS] for length in lengths])
    batched = forced(session, manifest, unequal, steps)
    single = np.concatenate([forced(session, manifest, [prompt], steps[i : i + 1]) for i, prompt in enumerate(unequal)])
    return findings + same_answers("batch", batched, single, limits), noise


def _logits(reference: ReferenceModel, input_ids: np.ndarray) -> np.ndarray:
    """The reference's logits for rows without padding."""
    positions = np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape).copy()
    return reference.logits(input_ids, np.ones_like(input_ids), positions)


def _noise(reference: ReferenceModel, sample: np.ndarray, exact: np.ndarray) -> float:
    """How far float32 moves from float64, and how far when half of the text comes in a padded batch."""
    plain = _logits(reference, sample)
    half = sample.shape[1] // 2
    batch = np.concatenate([sample, sample])
    mask = np.ones_like(batch)
    mask[1, half:] = 0
    positions = np.broadcast_to(np.arange(batch.shape[1]), batch.shape).copy()
    padded = reference.logits(batch, mask, positions)
    return max(
        max_abs_error(plain, exact),
        max_abs_error(padded[0], plain[0]),
        max_abs_error(padded[1, :half], plain[0, :half]),
        floor(float(np.abs(plain).max())),
    )


def _text_findings(
    session: Session, manifest: Manifest, reference: ReferenceModel, windows: Sequence[np.ndarray], limits: Limits
) -> list[Finding]:
    """Running text, teacher-forced: every position's distribution, and the perplexity of the whole."""
    parts, error, scale = [], 0.0, 0.0
    for window in windows:
        expected = _logits(reference, window[None])
        actual = prefill(session, manifest, window[None])
        if failed := incomparable(actual, expected):
            return [failed]
        error = max(error, max_abs_error(actual, expected))
        scale = max(scale, float(np.abs(expected).max()))
        parts.append(scores(actual[0, :-1], expected[0, :-1], window[1:]))
    score = Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    count = len(score.kl)
    ours, theirs = float(np.exp(score.nll.mean())), float(np.exp(score.reference_nll.mean()))
    ratio = ours / theirs
    standard_error = ratio * float(np.std(score.nll - score.reference_nll)) / count**0.5
    return [
        limits.by_noise("output.max_abs_error", error, count, unit="logits"),
        shown("output.max_relative_error", error / scale if scale else 0.0, count, "ratio"),
        limits.by_budget("top1.agreement", float(score.agree.mean()), count, "min_top1_agreement"),
        limits.by_budget("kl.mean", float(score.kl.mean()), count, "max_kl_divergence"),
        shown("kl.max", float(score.kl.max()), count, "nats"),
        shown("perplexity.reference", theirs, count, "perplexity"),
        shown("perplexity.engine", ours, count, "perplexity"),
        limits.by_budget("perplexity.ratio", ratio, count, "max_perplexity_ratio"),
        shown("perplexity.ratio.standard_error", standard_error, count, "ratio"),
    ]
