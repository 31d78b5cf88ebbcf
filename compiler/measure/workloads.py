"""What is timed. One round of a workload gives the samples of one or two series, in ms.

An encoder answers a batch of texts. A decoder reads a prompt, which gives the time to the first token, and generates,
which gives one sample a token; choosing the token is part of it. The tokens are random: no runner's speed depends on
what they say.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from compiler.engines import EncoderDecoderSession, Session
from compiler.errors import IntegrityError
from compiler.records import Manifest

Samples = dict[str, tuple[float, ...]]
Workload = Callable[[Session], Samples]

ENCODER_SHAPES = ((1, 32), (1, 128), (8, 128))  # batch, tokens
CHOICES = 4  # of a multiple-choice question
ENCODER_WARMUP, ENCODER_CALLS, ENCODER_SECONDS = 2, 20, 0.8  # a round ends after so many calls, or so much time
ENCODER_LEAST = 4  # calls that slow models make all the same
DECODER_PROMPT, DECODER_NEW, DECODER_GENERATIONS = 128, 24, 2  # tokens, tokens, generations in a round
DECODER_LEAST, DECODER_SECONDS = 6, 2.5  # tokens that slow models generate all the same, and when they stop then
WARMUP_TOKENS = 2


def workloads_of(manifest: Manifest) -> dict[str, Workload]:
    """The workloads of this kind of model that its context can hold, by name."""
    context = manifest.context_length
    if manifest.kind != "encoder":
        prompt = min(DECODER_PROMPT, context // 2)
        new = min(DECODER_NEW, context - prompt)
        return {"generate": lambda session: generate(session, manifest, prompt, new)}
    shapes = {(batch, min(tokens, context)): None for batch, tokens in ENCODER_SHAPES}
    return {_series(manifest, batch, tokens): encode(manifest, batch, tokens) for batch, tokens in shapes}


def encode(manifest: Manifest, batch: int, tokens: int) -> Workload:
    """Calls with (batch, tokens) inputs, or (batch, CHOICES, tokens) where each text is a choice; none is padding."""
    shape = _shape(manifest, batch, tokens)
    feeds = {tensor.name: np.zeros(shape, dtype=np.int64) for tensor in manifest.inputs}
    feeds["input_ids"] = _tokens(manifest, shape)
    if "attention_mask" in feeds:
        feeds["attention_mask"] += 1

    def workload(session: Session) -> Samples:
        for _ in range(ENCODER_WARMUP):
            session.run(feeds)
        samples: list[float] = []
        start = time.perf_counter()
        while len(samples) < ENCODER_CALLS:
            before = time.perf_counter()
            session.run(feeds)
            after = time.perf_counter()
            samples.append(1000 * (after - before))
            if after - start > ENCODER_SECONDS and len(samples) >= ENCODER_LEAST:
                break
        return {_series(manifest, batch, tokens): tuple(samples)}

    return workload


def _shape(manifest: Manifest, batch: int, tokens: int) -> tuple[int, ...]:
    return (batch, CHOICES, tokens) if len(manifest.inputs[0].shape) == 3 else (batch, tokens)


def _series(manifest: Manifest, batch: int, tokens: int) -> str:
    return f"latency_{'x'.join(map(str, _shape(manifest, batch, tokens)))}"


def generate(session: Session, manifest: Manifest, prompt: int, new: int) -> Samples:
    """Greedy generations of `new` tokens after `prompt` random ones, or made of them by an encoder-decoder."""
    ids = _tokens(manifest, (1, prompt))
    _generate(session, manifest, ids, min(WARMUP_TOKENS, new))
    first: list[float] = []
    later: list[float] = []
    for _ in range(DECODER_GENERATIONS):
        samples = _generate(session, manifest, ids, new)
        first.append(samples[0])
        later.extend(samples[1:])
    return {f"time_to_first_token_{prompt}": tuple(first), "time_per_token": tuple(later)}


def _generate(session: Session, manifest: Manifest, ids: np.ndarray, new: int) -> list[float]:
    """Milliseconds until each of at most `new` tokens is known, counted from the one before."""
    if manifest.cache is None:
        raise IntegrityError("the manifest of this decoder has no cache", action="build the bundle again")
    samples: list[float] = []
    length = ids.shape[1]
    before = start = time.perf_counter()
    constants: dict[str, np.ndarray] = {}
    if isinstance(session, EncoderDecoderSession) and manifest.encoder:
        mask = np.ones_like(ids)
        constants = {**session.encode({"input_ids": ids, "attention_mask": mask}), "encoder_attention_mask": mask}
        ids, length = np.zeros((1, 1), np.int64), 1
    decoding = session.decode(manifest.cache, 1, length + new, constants)
    while len(samples) < new:
        logits = decoding.step(ids, np.array([length], dtype=np.int64))
        ids = logits.argmax(axis=-1)[:, None]
        length += 1
        after = time.perf_counter()
        samples.append(1000 * (after - before))
        before = after
        if after - start > DECODER_SECONDS and len(samples) >= DECODER_LEAST:
            break
    return samples


def _tokens(manifest: Manifest, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, manifest.vocabulary, shape, dtype=np.int64)
