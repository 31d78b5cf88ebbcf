"""What a model is asked to measure a fault's effect: inputs of random tokens, which the check knows nothing of.

No code of the check is used, so that what it overlooks cannot be overlooked here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compiler.engines import EncoderDecoderSession, Feeds, Session
from compiler.records import CacheShape, Manifest
from compiler.tasks import TASKS

FIRST = 5  # token that is not special
PROMPTS, STEPS, SAME = (40, 3, 17), 88, 3
SELECTED = np.array([2, 0, 0, 1])  # rows that go on half way, in this order
CHUNK, KEPT = 9, 4  # tokens that come at once after a prompt, and how many of them are not forgotten
TEXTS = (96, 4, 33, 128)

Answers = list[np.ndarray]


def engine_answers(session: Session, manifest: Manifest, adapters: Mapping[str, Feeds]) -> dict[str, Answers]:
    """The engine's answers to all probes: by adapter, "" for the base."""
    ask = {"encoder": _encoder, "decoder": _decoder, "encoder-decoder": _encoder_decoder}[manifest.kind]
    found = {"": ask(session, manifest)}
    for name, matrices in adapters.items():
        found[name] = ask(with_matrices(session, matrices), manifest)
    return found


def with_matrices(session: Session, matrices: Feeds) -> Session:
    """The session with an adapter in effect."""
    found: Session = session.with_matrices(matrices)  # type: ignore[attr-defined]
    return found


def texts(manifest: Manifest, lengths: Sequence[int], seed: int = 7) -> list[np.ndarray]:
    """Tokens in random order, one (length,) int64 each; none comes again before all have come."""
    sizes = [min(length, manifest.context_length) for length in lengths]
    every = np.random.default_rng(seed).permutation(np.arange(FIRST, manifest.vocabulary))
    return np.split(np.resize(every, sum(sizes)), np.cumsum(sizes)[:-1])


def batch(manifest: Manifest, rows: Sequence[np.ndarray], pad: int) -> Feeds:
    """Rows padded on the right, with the inputs that the model has; the second half of a row is its second text."""
    width = max(map(len, rows))
    ids = np.full((len(rows), width), pad, np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)], types[row, len(tokens) // 2 : len(tokens)] = tokens, 1, 1
    names = {tensor.name for tensor in (manifest.encoder or manifest).inputs}
    known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: array for name, array in known.items() if name in names}


def encoder_feeds(manifest: Manifest) -> list[Feeds]:
    rows = texts(manifest, TEXTS)
    return [batch(manifest, rows, 1), *(batch(manifest, [row], 1) for row in rows)]


def real(manifest: Manifest, outputs: Feeds, feeds: Feeds) -> Answers:
    """The answers to real tokens, or to texts where there is one a text."""
    names = TASKS[manifest.task].outputs
    tokenwise = outputs[names[0]].shape[:2] == feeds["input_ids"].shape
    mask = feeds["attention_mask"].astype(bool)
    return [outputs[name][mask] if tokenwise else outputs[name] for name in names]


def _encoder(session: Session, manifest: Manifest) -> Answers:
    return [answer for feeds in encoder_feeds(manifest) for answer in real(manifest, session.run(feeds), feeds)]


def decoder_rows(manifest: Manifest) -> tuple[list[np.ndarray], np.ndarray]:
    """Prompts of unequal lengths, and what follows each, (rows, STEPS)."""
    prompts = texts(manifest, PROMPTS)
    steps = min(STEPS, manifest.context_length - max(PROMPTS))
    return prompts, np.stack(texts(manifest, [steps] * len(PROMPTS), seed=8))


def drive(
    session: Session,
    cache: CacheShape,
    prompts: Sequence[np.ndarray],
    following: np.ndarray,
    constants: Feeds,
    *,
    order: np.ndarray | None = None,
) -> Answers:
    """Prompts and step after step. Half way, rows go on in this `order`, as beams do."""
    lengths = np.array([len(prompt) for prompt in prompts])
    ids = np.zeros((len(prompts), lengths.max()), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    capacity = int(lengths.max()) + following.shape[1]
    given: tuple[Any, ...] = (constants,) if constants else ()
    decoding = session.decode(cache, len(prompts), capacity, *given)
    found = [decoding.step(ids, lengths).copy()]
    rows = np.arange(len(prompts))
    for step in range(following.shape[1] - 1):
        if order is not None and step == following.shape[1] // 2:
            rows = order
            decoding.select(rows)
            lengths = lengths[rows]
        lengths = lengths + 1
        found.append(decoding.step(following[rows, step : step + 1].copy(), lengths).copy())
    return found


def alone(session: Session, cache: CacheShape, prompt: np.ndarray, following: np.ndarray, constants: Feeds) -> Answers:
    """One row that is given several tokens at once after its prompt, forgets some of them, and goes on."""
    given: tuple[Any, ...] = (constants,) if constants else ()
    decoding = session.decode(cache, 1, len(prompt) + len(following), *given)
    held = len(prompt)
    found = [decoding.step(prompt[None], np.array([held])).copy()]
    more = following[None, :CHUNK]
    found.append(decoding.step(more.copy(), np.array([held + CHUNK])).copy())
    decoding.truncate(held + KEPT)
    found.append(decoding.step(following[None, CHUNK : 2 * CHUNK - KEPT].copy(), np.array([held + CHUNK])).copy())
    return found


def _decoder(session: Session, manifest: Manifest) -> Answers:
    assert manifest.cache is not None
    prompts, following = decoder_rows(manifest)
    return [
        *drive(session, manifest.cache, prompts, following, {}),
        *drive(session, manifest.cache, [prompt[:SAME] for prompt in prompts], following, {}, order=SELECTED),
        *alone(session, manifest.cache, prompts[2], following[2], {}),
    ]


def _encoder_decoder(session: Session, manifest: Manifest) -> Answers:
    assert manifest.cache is not None
    assert isinstance(session, EncoderDecoderSession)
    feeds, starts, following = rewriting(manifest)
    constants = {**session.encode(feeds), "encoder_attention_mask": feeds["attention_mask"]}
    return drive(session, manifest.cache, starts, following, constants, order=SELECTED)


def rewriting(manifest: Manifest) -> tuple[Feeds, list[np.ndarray], np.ndarray]:
    """Texts of unequal lengths, what each answer begins with, and what follows."""
    rows = texts(manifest, TEXTS[1:])
    following = np.stack(texts(manifest, [100] * 3, seed=8))
    return batch(manifest, rows, 1), [np.array([1, 60, 30])] * 3, following
