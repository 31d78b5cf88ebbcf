"""Parity of an encoder: the same texts, alone and in padded batches, through the engine and through PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from compiler.check.compare import Scores, cosine, incomparable, max_abs_error, scores
from compiler.check.feeds import Feeds, Text
from compiler.check.limits import Limits, floor, shown
from compiler.check.references import OpenReference
from compiler.engines import Session
from compiler.profile import Budget
from compiler.records import Finding, Manifest, Pooling
from compiler.tasks import TASKS

BATCH = 8
LENGTHS = (12, 128, 5, 64, 23, 96, 3, 41)  # tokens of the texts in a batch, special tokens included
LONGEST = 512  # one text alone is as long as the context, up to this
MASK_EVERY = 7  # tokens; a model that fills in words is shown gaps
TEXTS = {"text-classification": 32}  # one answer a text, so a share of agreement needs more texts


def compare_encoder(
    session: Session, manifest: Manifest, open_reference: OpenReference, text: Text, budget: Budget
) -> tuple[list[Finding], float]:
    """All findings, and the reference's noise as an absolute difference of the output."""
    names = [tensor.name for tensor in manifest.inputs]
    output = TASKS[manifest.task].outputs[0]
    context = manifest.context_length
    count = TEXTS.get(manifest.task, BATCH)
    lengths = [min(LENGTHS[i % BATCH], context) for i in range(count)]
    *pieces, longest = text.pieces([*lengths, min(LONGEST, context)])
    if manifest.task == "fill-mask" and text.mask is not None:
        for piece in pieces:
            piece[MASK_EVERY // 2 : -1 : MASK_EVERY] = text.mask
    together = [text.batch(pieces[i : i + BATCH], names) for i in range(0, count, BATCH)]
    alone = [text.batch([piece], names) for piece in pieces[:BATCH]]
    feeds = [*together, *alone, text.batch([longest], names)]
    first = feeds[0]

    with closing(open_reference("float64")) as reference:
        exact = reference.run(first)[output]
    with closing(open_reference("float32")) as reference:
        expected = [reference.run(feed)[output] for feed in feeds]
        reordered = reference.run({name: array[::-1].copy() for name, array in first.items()})[output][::-1]
    alone_expected = expected[len(together) : len(together) + BATCH]
    noise = max(
        max_abs_error(_real(expected[0], first), _real(exact, first)),
        max_abs_error(_real(expected[0], first), _real(reordered, first)),
        _padding_error(expected[0], alone_expected),
        floor(float(np.abs(expected[0]).max())),
    )
    limits = Limits(manifest.precision, budget, noise)

    actual = [session.run(feed)[output] for feed in feeds]
    for ours, theirs in zip(actual, expected, strict=True):
        if failed := incomparable(ours, theirs):
            return [failed], noise
    rows = np.concatenate([_real(array, feed) for array, feed in zip(actual, feeds, strict=True)])
    expected_rows = np.concatenate([_real(array, feed) for array, feed in zip(expected, feeds, strict=True)])
    error = max_abs_error(rows, expected_rows)
    scale = float(np.abs(expected_rows).max())
    alone_actual = actual[len(together) : len(together) + BATCH]
    findings = [
        limits.by_noise("output.max_abs_error", error, rows.size),
        shown("output.max_relative_error", error / scale if scale else 0.0, rows.size, "ratio"),
        limits.by_noise("padding.max_abs_error", _padding_error(actual[0], alone_actual), len(alone)),
    ]
    if output == "logits":
        padded = np.concatenate([_row(actual[0], i, one) for i, one in enumerate(alone_actual)])
        single = np.concatenate([one.reshape(-1, one.shape[-1]) for one in alone_actual])
        return findings + _logits_findings(scores(rows, expected_rows), scores(padded, single), limits), noise
    vectors = _pooled(actual, feeds, manifest.pooling)
    of_texts = cosine(vectors, _pooled(expected, feeds, manifest.pooling))
    of_padding = cosine(vectors[: len(alone)], vectors[count : count + len(alone)])
    return findings + _vector_findings(of_texts, cosine(rows, expected_rows), of_padding, limits), noise


def _logits_findings(score: Scores, padding: Scores, limits: Limits) -> list[Finding]:
    """Answers against the reference's, and answers in a padded batch against those to the same texts alone."""
    count, same = len(score.kl), float(padding.agree.mean())
    return [
        limits.by_budget("top1.agreement", float(score.agree.mean()), count, "min_top1_agreement"),
        limits.by_budget("kl.mean", float(score.kl.mean()), count, "max_kl_divergence"),
        shown("kl.max", float(score.kl.max()), count, "nats"),
        limits.by_budget("padding.top1_agreement", same, len(padding.kl), "min_top1_agreement"),
    ]


def _vector_findings(
    of_texts: np.ndarray, of_tokens: np.ndarray, of_padding: np.ndarray, limits: Limits
) -> list[Finding]:
    """Cosines: of one vector a text and one a token with the reference's, and of padded texts with the same alone."""
    return [
        limits.by_budget("cosine.min", float(of_texts.min()), len(of_texts), "min_cosine"),
        shown("cosine.mean", float(of_texts.mean()), len(of_texts), "cosine", better="higher"),
        shown("token_cosine.min", float(of_tokens.min()), len(of_tokens), "cosine", better="higher"),
        shown("token_cosine.mean", float(of_tokens.mean()), len(of_tokens), "cosine", better="higher"),
        limits.by_budget("padding.cosine.min", float(of_padding.min()), len(of_padding), "min_cosine"),
    ]


def _real(output: np.ndarray, feed: Feeds) -> np.ndarray:
    """Rows of real tokens: (batch, sequence, width) -> (tokens, width); one answer a text stays (batch, width)."""
    return output[feed["attention_mask"] == 1] if output.ndim == 3 else output


def _row(together: np.ndarray, row: int, alone: np.ndarray) -> np.ndarray:
    """Text `row` of a padded batch, cut to what it is `alone` (1, ...), as (tokens or 1, width)."""
    return together[row, : alone.shape[1]] if alone.ndim == 3 else together[row : row + 1]


def _padding_error(together: np.ndarray, alone: Sequence[np.ndarray]) -> float:
    """How much the answers to texts move when they come in a padded batch."""
    return max(max_abs_error(_row(together, i, one), one.reshape(-1, one.shape[-1])) for i, one in enumerate(alone))


def _pooled(outputs: Sequence[np.ndarray], feeds: Sequence[Feeds], pooling: Pooling | None) -> np.ndarray:
    """One vector a text, as the checkpoint wants it (the mean where it does not say): (texts, hidden)."""
    mode = pooling.mode if pooling else "mean"
    vectors = []
    for output, feed in zip(outputs, feeds, strict=True):
        mask = feed["attention_mask"]
        if mode == "mean":
            vectors.append((output * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True))
        elif mode == "cls":
            vectors.append(output[:, 0])
        else:
            vectors.append(output[np.arange(len(output)), mask.sum(axis=1) - 1])
    return np.concatenate(vectors)
