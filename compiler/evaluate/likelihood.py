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

BATCH_TOKENS = 512  # rows times tokens of one call
CALL_TOKENS = 64  # more padding than these costs more than another call
WINDOW = 1024  # tokens that are read at once, where the context allows it
CELLS = 2**18  # logits that are reduced at once: 1 MiB, which stays in a core's cache


class Window(NamedTuple):
    """Tokens begin .. end - 1 of text `text`, of which those from `first` on are scored, given the ones before."""

    text: int
    begin: int
    end: int
    first: int

    @property
    def read(self) -> int:
        """Tokens that the model is given: all but the last, which nothing is scored after."""
        return self.end - 1 - self.begin

    @property
    def scored(self) -> int:
        return self.end - self.first


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


def batches(cover: Sequence[Window], tokens: int) -> Iterator[list[Window]]:
    """Windows that read and score about as much together, so that few rows and logits are padding.

    Each batch is of at most `tokens` with its padding, or a single window.
    """
    batch: list[Window] = []
    used = scored = 0  # read and scored in the batch; the most that any of its windows scores
    for window in sorted(cover, key=lambda each: (each.read, each.scored)):
        rows, used, scored = len(batch) + 1, used + window.read + window.scored, max(scored, window.scored)
        padding = rows * (window.read + scored) - used
        if batch and (rows * window.read > tokens or padding > CALL_TOKENS):
            yield batch
            batch, used, scored = [], window.read + window.scored, window.scored
        batch.append(window)
    if batch:
        yield batch


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
    tokens = [np.asarray(text, np.int64) for text in texts]
    losses = [np.zeros(max(len(text) - 1, 0)) for text in tokens]
    for batch in batches(windows([len(text) for text in tokens], size, stride), BATCH_TOKENS):
        for window, logits in zip(batch, _logits(session, manifest, tokens, batch), strict=True):
            targets = tokens[window.text][window.first : window.end]
            losses[window.text][window.first - 1 : window.end - 1] = _reduced(logits, targets)
    return losses


def _logits(
    session: Session, manifest: Manifest, texts: Sequence[np.ndarray], batch: Sequence[Window]
) -> list[np.ndarray]:
    """(scored, vocabulary) for each window: what the model expects in the place of each scored token."""
    ids = np.zeros((len(batch), max(window.read for window in batch)), np.int64)
    mask = np.zeros_like(ids)
    for row, window in enumerate(batch):
        ids[row, : window.read] = texts[window.text][window.begin : window.end - 1]
        mask[row, : window.read] = 1
    if isinstance(session, Reference):
        positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
        return _ends(session.logits(ids, mask, positions), batch)
    if cache_of(manifest).layout == "none":
        return _ends(prefill(session, manifest, ids), batch)
    feeds = prefill_feeds(manifest, ids)
    known = {"attention_mask": mask, "logits_positions": _places(batch)}
    logits = session.run({name: known.get(name, array) for name, array in feeds.items()})["logits"]
    if "logits_positions" not in feeds:
        return _ends(logits, batch)
    return [row[: window.scored] for row, window in zip(logits, batch, strict=True)]


def _ends(logits: np.ndarray, batch: Sequence[Window]) -> list[np.ndarray]:
    """The scored part of logits (batch, tokens, vocabulary) at every token that was read; nothing is copied."""
    return [row[window.read - window.scored : window.read] for row, window in zip(logits, batch, strict=True)]


def _places(batch: Sequence[Window]) -> np.ndarray:
    """(batch, scored) int64: the tokens after which something is scored; rows with fewer repeat their last one."""
    steps = np.arange(max(window.scored for window in batch))
    last = np.array([window.read - 1 for window in batch])[:, None]
    first = np.array([window.read - window.scored for window in batch])[:, None]
    places: np.ndarray = np.minimum(first + steps, last)
    return places


def _reduced(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Losses (tokens,) float64 of logits (tokens, vocabulary)."""
    count, width = logits.shape
    rows = max(1, CELLS // width)
    losses = np.empty(count)
    scratch = np.empty((min(rows, count), width), np.float32)
    for start in range(0, count, rows):
        part, wanted = logits[start : start + rows], targets[start : start + rows]
        powers = scratch[: len(part)]
        top = part.max(axis=1, keepdims=True)
        np.exp(np.subtract(part, top, out=powers, dtype=np.float32), out=powers)
        short = top[:, 0].astype(np.float64) - part[np.arange(len(wanted)), wanted]
        losses[start : start + rows] = np.log(powers.sum(axis=1)) + short
    return losses
