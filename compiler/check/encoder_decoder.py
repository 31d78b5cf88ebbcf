"""Parity of an encoder-decoder: texts of many lengths, alone and in padded batches, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from compiler.check.compare import incomparable, max_abs_error, scores
from compiler.check.feeds import Feeds, Text
from compiler.check.generated import forced, greedy_findings, prefill, same_answers
from compiler.check.limits import Limits, floor, shown
from compiler.check.references import OpenReference, ReferenceModel
from compiler.engines import EncoderDecoderSession, Session
from compiler.errors import IntegrityError
from compiler.profile import Budget
from compiler.records import Finding, Manifest

LENGTHS = (24, 64, 9, 40, 5, 96)  # tokens of the texts, special tokens included
NEW_TOKENS = 32
NAMES = ("input_ids", "attention_mask")


def compare_encoder_decoder(
    session: Session, manifest: Manifest, open_reference: OpenReference, text: Text, budget: Budget
) -> tuple[list[Finding], float]:
    """All findings, and the reference's noise as an absolute difference of the logits.

    The decoder is led along the reference's own greedy answers, so that every step of both is comparable.
    """
    if not isinstance(session, EncoderDecoderSession):
        raise IntegrityError("the manifest of this encoder-decoder has no encoder", action="build the bundle again")
    pieces = text.pieces([min(length, manifest.context_length) for length in LENGTHS])
    together, alone = text.batch(pieces, NAMES), [text.batch([piece], NAMES) for piece in pieces]

    with closing(open_reference("float32")) as reference:
        start = reference.start_token
        answers = _generate(reference, alone, min(NEW_TOKENS, manifest.context_length - 1))
        tokens = np.concatenate([np.full((len(answers), 1), start, np.int64), answers[:, :-1]], axis=1)
        expected = reference.answers(together, tokens)
        single = np.concatenate([reference.answers(one, tokens[i : i + 1]) for i, one in enumerate(alone)])
    with closing(open_reference("float64")) as reference:
        exact = reference.answers(together, tokens)
    noise = max(max_abs_error(expected, exact), max_abs_error(expected, single), floor(float(np.abs(expected).max())))
    limits = Limits(manifest.precision, budget, noise)

    constants = _read(session, together)
    starts = list(tokens[:, :1])
    decoded = forced(session, manifest, starts, answers, constants)
    if failed := incomparable(decoded, expected):
        return [failed], noise
    width = decoded.shape[-1]
    score = scores(decoded.reshape(-1, width), expected.reshape(-1, width), answers.reshape(-1))
    error, scale, count = max_abs_error(decoded, expected), float(np.abs(expected).max()), len(score.kl)
    ratio = float(np.exp(score.nll.mean() - score.reference_nll.mean()))
    findings = [
        limits.by_noise("output.max_abs_error", error, count, unit="logits"),
        shown("output.max_relative_error", error / scale if scale else 0.0, count, "ratio"),
        limits.by_budget("top1.agreement", float(score.agree.mean()), count, "min_top1_agreement"),
        limits.by_budget("kl.mean", float(score.kl.mean()), count, "max_kl_divergence"),
        shown("kl.max", float(score.kl.max()), count, "nats"),
        limits.by_budget("perplexity.ratio", ratio, count, "max_perplexity_ratio"),
        *greedy_findings(decoded, expected, answers, limits),
    ]
    whole = prefill(session, manifest, tokens, constants)
    findings += same_answers("cache", decoded, whole, limits)
    one_by_one = np.concatenate([
        forced(session, manifest, starts[i : i + 1], answers[i : i + 1], _read(session, one))
        for i, one in enumerate(alone)
    ])  # fmt: skip
    return findings + same_answers("batch", decoded, one_by_one, limits), noise


def _generate(reference: ReferenceModel, alone: Sequence[Feeds], new_tokens: int) -> np.ndarray:
    """Greedy answers to each text alone, (texts, new_tokens) int64."""
    return np.concatenate([reference.generate(one["input_ids"], one["attention_mask"], new_tokens) for one in alone])


def _read(session: EncoderDecoderSession, feeds: Feeds) -> Feeds:
    """What stays the same for all steps of the decoder."""
    return {**session.encode(feeds), "encoder_attention_mask": feeds["attention_mask"]}
