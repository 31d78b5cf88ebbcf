"""Parity of an encoder-decoder: texts of many lengths, alone and in padded batches, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from compiler.check.compare import IncomparableError, max_abs_error, require_comparable, scores
from compiler.check.feeds import Feeds, Text
from compiler.check.generated import centered_cosine, forced, greedy_findings, prefill, same_answers
from compiler.check.limits import LOGITS, Limits
from compiler.check.longest import Longest, longest_findings, positions
from compiler.check.noise import exactly, noise
from compiler.check.references import Compared, OpenReference, ReferenceModel
from compiler.check.rounding import rounded_answers, rounding_findings
from compiler.check.steps import counted, step
from compiler.checkpoint.rounded import Method
from compiler.engines import EncoderDecoderSession, Session
from compiler.errors import IntegrityError
from compiler.records import Budget, Finding, Manifest
from compiler.records.findings import finding

LENGTHS = (24, 64, 3, 40, 5, 96)  # tokens of the texts, special tokens included
MOST = 32  # times as many texts, where a share stays undecided
NEW_TOKENS = 32
NAMES = ("input_ids", "attention_mask")


class Asked:
    """One batch of texts, and what the reference makes of it in float32.

    Attributes:
        together, alone: the texts in one padded batch, and one by one.
        answers: (texts, steps) int64, the reference's own greedy tokens for each text alone.
        tokens: the same one step later, as the decoder is fed them: the start token first.
        expected: (texts, steps, vocabulary), the logits for `together`.
        single: the same for `alone`.
    """

    def __init__(self, reference: ReferenceModel, text: Text, lengths: Sequence[int], number: int, steps: int) -> None:
        pieces = text.pieces(lengths, number * sum(lengths))
        self.together, self.alone = text.batch(pieces, NAMES), [text.batch([piece], NAMES) for piece in pieces]
        texts = counted(self.alone, "PyTorch's answers")
        answers = [reference.generate(one["input_ids"], one["attention_mask"], steps) for one in texts]
        self.answers = np.concatenate(answers)
        start = np.full((len(answers), 1), reference.start_token, np.int64)
        self.tokens = np.concatenate([start, self.answers[:, :-1]], axis=1)
        self.expected, self.single = self.read(reference)

    def read(self, reference: ReferenceModel) -> tuple[np.ndarray, np.ndarray]:
        """A reference's logits along the tokens, for the texts together and alone."""
        texts = counted(self.alone, "PyTorch's numbers")
        single = [reference.answers(one, self.tokens[i : i + 1]) for i, one in enumerate(texts)]
        return reference.answers(self.together, self.tokens), np.concatenate(single)


def compare_encoder_decoder(
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

    The decoder is led along the reference's own greedy answers, so that every step of both is comparable.
    """
    if not isinstance(session, EncoderDecoderSession):
        raise IntegrityError("the manifest of this encoder-decoder has no encoder", action="build the bundle again")
    context = manifest.context_length
    lengths, steps = [min(length, context) for length in LENGTHS], min(NEW_TOKENS, context - 1)
    most = max(1, min(MOST, text.tokens // sum(lengths)))
    longest, keep = text.batch(text.pieces([context]), NAMES), positions(context, text.config)

    def row(reference: ReferenceModel) -> np.ndarray:
        return np.concatenate([[reference.start_token], text.long(context)[: context - 1]])[None]

    with closing(open_reference("float32")) as reference:
        # The longest text comes first: some models stay with what the first text that they read made of them.
        step(f"PyTorch's answers to a text of {context} tokens")
        tokens = row(reference)
        expected = reference.answers(longest, tokens)[:, keep]
        first = Asked(reference, text, lengths, 0, steps)

    def again(reference: ReferenceModel) -> list[np.ndarray]:
        return [reference.answers(longest, tokens)[:, keep], *first.read(reference)]

    exact, source = exactly(open_reference, again)
    rounding = rounded_answers(open_reference, method, again, exact)
    own = noise([first.expected, first.single], exact[1:], source)
    limits = Limits(manifest.precision, budget, own, LOGITS)
    of_long = Limits(manifest.precision, budget, noise([expected], exact[:1], source).at_least(own), LOGITS)

    def more(number: int) -> Asked:
        with closing(open_reference("float32")) as reference:
            return Asked(reference, text, lengths, number, steps)

    try:
        asked = [first]
        step("the engine's answers")
        decoded = [_decoded(session, manifest, first)]
        findings = _text_findings(asked, decoded, limits)
        while any(finding.undecided for finding in findings) and len(asked) < most:
            new = [more(number) for number in range(len(asked), min(2 * len(asked), most))]
            asked += new
            decoded += [_decoded(session, manifest, each) for each in new]
            findings = _text_findings(asked, decoded, limits)
        findings += rounding_findings("output", decoded[:1], [first.expected], rounding.of(slice(1, 2)), limits)
        asked_long = Longest(tokens, keep, expected, of_long, rounding.of(slice(1)))
        findings += longest_findings(session, manifest, asked_long, _read(session, longest))
        findings += _same_findings(session, manifest, first, decoded[0], limits)
    except IncomparableError as error:
        findings = [error.args[0]]
    return Compared(findings, own, context)


def _read(session: EncoderDecoderSession, feeds: Feeds) -> Feeds:
    """What stays the same for all steps of the decoder."""
    return {**session.encode(feeds), "encoder_attention_mask": feeds["attention_mask"]}


def _decoded(session: EncoderDecoderSession, manifest: Manifest, asked: Asked) -> np.ndarray:
    """The engine's logits, step by step, for the texts together. Raises IncomparableError."""
    constants = _read(session, asked.together)
    decoded = forced(session, manifest, list(asked.tokens[:, :1]), asked.answers, constants)
    require_comparable(decoded, asked.expected)
    return decoded


def _text_findings(asked: Sequence[Asked], decoded: Sequence[np.ndarray], limits: Limits) -> list[Finding]:
    """What the engine says along the reference's answers."""
    ours, theirs = np.concatenate(decoded), np.concatenate([each.expected for each in asked])
    answers = np.concatenate([each.answers for each in asked])
    width = ours.shape[-1]
    score = scores(ours.reshape(-1, width), theirs.reshape(-1, width), answers.reshape(-1))
    error, scale, count = max_abs_error(ours, theirs), float(np.abs(theirs).max()), len(score.kl)
    ratio = float(np.exp(score.nll.mean() - score.reference_nll.mean()))
    return [
        limits.by_noise("output.max_abs_error", error, count),
        finding("output.max_relative_error", error / scale if scale else 0.0, count),
        limits.by_share("top1.agreement", score.agree, "min_top1_agreement"),
        limits.by_budget("kl.mean", float(score.kl.mean()), count, "max_kl_divergence"),
        finding("kl.max", float(score.kl.max()), count),
        limits.by_budget("perplexity.ratio", ratio, count, "max_perplexity_ratio"),
        *greedy_findings(ours, theirs, answers, limits),
    ]


def _same_findings(
    session: EncoderDecoderSession, manifest: Manifest, asked: Asked, decoded: np.ndarray, limits: Limits
) -> list[Finding]:
    """The same answers in one call, and of each text alone. Rounding is judged less what padding changes in PyTorch."""
    step("texts alone and together")
    whole = prefill(session, manifest, asked.tokens, _read(session, asked.together))
    starts = list(asked.tokens[:, :1])
    single = np.concatenate([
        forced(session, manifest, starts[i : i + 1], asked.answers[i : i + 1], _read(session, one))
        for i, one in enumerate(asked.alone)
    ])  # fmt: skip
    same = decoded - (asked.expected - asked.single)
    cosines = centered_cosine(decoded, single)
    return [
        *same_answers("cache", decoded, whole, limits),
        *same_answers("batch", same, single, limits),
        limits.by_budget("padding.cosine.min", float(cosines.min()), cosines.size, "min_padding_cosine"),
    ]
