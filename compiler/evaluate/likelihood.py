"""How likely a language model finds texts: many windows in one call, and only the logits that count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from compiler.check.generated import cache_of, prefill, prefill_feeds
from compiler.checkpoint.reference import Reference
from compiler.engines import Session
from compiler.errors import InputError
from compiler.records import Manifest
from compiler.runtime.batching import batches

BATCH_TOKENS = 512  # rows times tokens of one call
WINDOW = 1024  # tokens that are read at once, where the context allows it
ROWS = 32  # rows of logits that are reduced at once, so that they stay in the processor's cache


class Window(NamedTuple):
    """Tokens begin .. end - 1 of text `text`, of which those from `first` on are scored, given the ones before."""

    text: int
    begin: int
    end: int
    first: int


def windows(lengths: Sequence[int], size: int, stride: int) -> list[Window]:
    """Cover each text with windows of `size` tokens, `stride` apart; every token but a text's first is scored once."""
    found = []
    for text, length in enumerate(lengths):
        first, begin = 1, 0
        while first < length:
            end = min(begin + size, length)
            found.append(Window(text, begin, end, first))
            first, begin = end, begin + stride
    return found


def sizes(context: int, window: int | None, stride: int | None) -> tuple[int, int]:
    """Window and stride in tokens; half a window is the default stride.

    Raises:
        InputError: they do not fit each other or the context.
    """
    size = window or min(WINDOW, context)
    step = stride or max(1, size // 2)
    if not 2 <= size <= context:
        raise InputError("--window", found=f"{size} tokens", expected=f"2 to {context}, the model's context")
    if step >= size:
        raise InputError("--stride", found=f"{step} tokens", expected=f"less than the window, {size}")
    return size, step


def log_losses(
    session: Session, manifest: Manifest, texts: Sequence[Sequence[int]], size: int, stride: int
) -> list[np.ndarray]:
    """Negative log-probability of every token of each text but its first, given at most `size` - 1 before it.

    Args:
        session: a decoder's engine, or its `Reference`.
        texts: tokens.
        size, stride: see `windows`.

    Returns:
        (tokens - 1,) float64 nats for each text.
    """
    losses = [np.zeros(max(len(text) - 1, 0)) for text in texts]
    cover = windows([len(text) for text in texts], size, stride)
    for rows in batches([window.end - window.begin for window in cover], BATCH_TOKENS):
        batch = [cover[row] for row in rows]
        for window, loss in zip(batch, _losses(session, manifest, texts, batch), strict=True):
            losses[window.text][window.first - 1 : window.end - 1] = loss
    return losses


def _losses(
    session: Session, manifest: Manifest, texts: Sequence[Sequence[int]], batch: Sequence[Window]
) -> Iterator[np.ndarray]:
    longest = max(window.end - window.begin for window in batch)
    ids = np.zeros((len(batch), longest), np.int64)
    mask = np.zeros_like(ids)
    kept = np.zeros((len(batch), max(window.end - window.first for window in batch)), np.int64)
    for row, window in enumerate(batch):
        length = window.end - window.begin
        ids[row, :length] = texts[window.text][window.begin : window.end]
        mask[row, :length] = 1
        places = np.arange(window.first - 1, window.end - 1) - window.begin
        kept[row, : len(places)] = places
    logits = _logits(session, manifest, ids, mask, kept)
    for row, window in enumerate(batch):
        count = window.end - window.first
        targets = np.array(texts[window.text][window.first : window.end])
        yield _reduced(logits[row, :count], targets)


def _logits(session: Session, manifest: Manifest, ids: np.ndarray, mask: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(batch, kept, vocabulary): what follows the columns `kept` of rows that are padded on the right."""
    rows = np.arange(len(ids))[:, None]
    if isinstance(session, Reference):
        positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
        return np.asarray(session.logits(ids, mask, positions)[rows, kept])
    if cache_of(manifest).layout == "none":
        return np.asarray(prefill(session, manifest, ids)[rows, kept])
    feeds = prefill_feeds(manifest, ids)
    selects = "logits_positions" in feeds
    known = {"attention_mask": mask, "logits_positions": kept}
    logits = session.run({name: known.get(name, array) for name, array in feeds.items()})["logits"]
    return logits if selects else np.asarray(logits[rows, kept])


def _reduced(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    losses = np.empty(len(targets))
    for start in range(0, len(targets), ROWS):
        part, wanted = logits[start : start + ROWS], targets[start : start + ROWS]
        top = part.max(axis=1, keepdims=True)
        total = np.log(np.exp(part - top).sum(axis=1)) + top[:, 0]
        losses[start : start + ROWS] = total - part[np.arange(len(wanted)), wanted]
    return losses
