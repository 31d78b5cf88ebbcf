"""What a generation goes through besides growing token by token: beams, several tokens at once, and forgetting.

The engine is compared with itself: however a text came into its cache, the answers are those to the same text in one
call, which are compared with the reference elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.check.feeds import Feeds, Text
from compiler.check.generated import cache_of, same_answers
from compiler.check.limits import Limits
from compiler.check.steps import step
from compiler.engines import Decoding, EncoderDecoderSession, Session
from compiler.records import Finding, Manifest

ROWS, PROMPT, STEPS = 4, 12, 4  # rows at most, tokens of each prompt, and steps between two changes
TEXTS = (24, 9, 40)  # tokens of what an encoder-decoder reads

# Which rows go on: one is doubled while another one moves, then some are left out.
ORDERS = ((2, 0, 0, 1), (3, 1))

CHUNK = 5  # tokens that a conversation appends at once


def driven_findings(session: Session, manifest: Manifest, text: Text, limits: Limits) -> list[Finding]:
    """Rows that change places ("beams"); of a decoder also several tokens at once, and forgetting ("continued").

    Nothing for an encoder, or where the context is too short for it.
    """
    span = PROMPT + STEPS * (len(ORDERS) + 1)
    if manifest.cache is None or span + CHUNK > manifest.context_length:
        return []
    step("beams and conversations")
    windows = text.windows(ROWS, span)
    rows = [windows[i % len(windows)] for i in range(ROWS)]
    if manifest.encoder is not None and isinstance(session, EncoderDecoderSession):
        return _beams(session, manifest, rows, limits, _read_texts(session, manifest, text))
    return _beams(session, manifest, rows, limits, {}) + _continued(session, manifest, rows, limits)


def _read_texts(session: EncoderDecoderSession, manifest: Manifest, text: Text) -> Feeds:
    """What an encoder-decoder has read of the first three rows' texts."""
    pieces = text.pieces([min(length, manifest.context_length) for length in TEXTS])
    feeds = text.batch(pieces, ("input_ids", "attention_mask"))
    return {**session.encode(feeds), "encoder_attention_mask": feeds["attention_mask"]}


def _beams(
    session: Session, manifest: Manifest, rows: Sequence[np.ndarray], limits: Limits, constants: Feeds
) -> list[Finding]:
    """Every row is led along a text of its own, so that two rows of one origin part."""
    held = [row[:PROMPT] for row in rows[:3]]
    origin = np.arange(len(held))
    decoding = _decoding(session, manifest, constants, origin, len(rows[0]))
    answers = [_step(decoding, np.stack(held), PROMPT)]
    expected = [_at_once(session, manifest, np.stack(held), constants, origin)]
    for order in (tuple(origin), *ORDERS):
        chosen = np.array(order)
        decoding.select(chosen)
        held, origin = [held[row] for row in order], origin[chosen]
        for _ in range(STEPS):
            at = len(held[0])
            held = [np.append(text, rows[place][at]) for place, text in enumerate(held)]
            texts = np.stack(held)
            answers.append(_step(decoding, texts[:, at:], at + 1))
            expected.append(_at_once(session, manifest, texts, constants, origin))
    return same_answers("beams", np.concatenate(answers)[:, None], np.concatenate(expected)[:, None], limits)


def _continued(session: Session, manifest: Manifest, rows: Sequence[np.ndarray], limits: Limits) -> list[Finding]:
    """Of one row, a prompt, several tokens at once, and others in place of the last of them."""
    first, other = rows[0], rows[1]
    alone = np.arange(1)
    decoding = _decoding(session, manifest, {}, alone, len(first) + CHUNK)
    held, answers, expected = first[:0], [], []
    for kept, new in (
        (0, first[:PROMPT]),
        (PROMPT, first[PROMPT : PROMPT + CHUNK]),
        (PROMPT + 2, other[:CHUNK]),
        (PROMPT - 3, other[:1]),
    ):
        if kept < len(held):
            decoding.truncate(kept)
        held = np.concatenate([held[:kept], new])
        answers.append(_step(decoding, new[None], len(held)))
        expected.append(_at_once(session, manifest, held[None], {}, alone))
    return same_answers("continued", np.concatenate(answers)[:, None], np.concatenate(expected)[:, None], limits)


def _decoding(session: Session, manifest: Manifest, constants: Feeds, origin: np.ndarray, capacity: int) -> Decoding:
    """A generation with a row for each of the `origin` rows of the constants."""
    own = ({name: array[origin] for name, array in constants.items()},) if constants else ()
    return session.decode(cache_of(manifest), len(origin), capacity, *own)


def _step(decoding: Decoding, tokens: np.ndarray, length: int) -> np.ndarray:
    """The logits (rows, vocabulary) after these tokens of equally long rows."""
    return decoding.step(tokens.copy(), np.full(len(tokens), length, np.int64)).copy()


def _at_once(
    session: Session, manifest: Manifest, texts: np.ndarray, constants: Feeds, origin: np.ndarray
) -> np.ndarray:
    """The same where the whole text comes in one call."""
    return _step(_decoding(session, manifest, constants, origin, texts.shape[1]), texts, texts.shape[1])
