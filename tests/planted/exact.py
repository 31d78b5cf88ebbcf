"""What PyTorch says to the same probes in float64, without a cache, a batch or a change of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.planted import probes
from tests.planted.probes import Answers
from tests.planted.subjects import Subject


def exact_answers(subject: Subject) -> dict[str, Answers]:
    """As `probes.engine_answers`."""
    ask = {"encoder": _encoder, "decoder": _decoder, "encoder-decoder": _encoder_decoder}[subject.manifest.kind]
    return {name: ask(subject, name) for name in ("", *subject.adapters)}


def _encoder(subject: Subject, adapter: str) -> Answers:
    reference, manifest = subject.reference("float64", adapter), subject.manifest
    return [
        answer
        for feeds in probes.encoder_feeds(manifest)
        for answer in probes.real(manifest, reference.run(feeds), feeds)
    ]


def _steps(
    logits: Sequence[np.ndarray], prompts: Sequence[np.ndarray], steps: int, selected: np.ndarray | None = None
) -> Answers:
    """Of each row's logits at all positions, those that `probes.drive` sees, step by step."""
    found = []
    order = np.arange(len(prompts))
    for step in range(steps):
        if selected is not None and step == steps // 2 + 1:
            order = selected
        found.append(np.stack([logits[row][len(prompts[row]) - 1 + step] for row in order]))
    return found


def _decoder(subject: Subject, adapter: str) -> Answers:
    reference = subject.reference("float64", adapter)

    def logits(prompts: Sequence[np.ndarray]) -> Answers:
        rows = [np.concatenate(pair)[None] for pair in zip(prompts, following, strict=True)]
        return [reference.logits(row, np.ones_like(row), np.arange(row.shape[1])[None])[0] for row in rows]

    prompts, following = probes.decoder_rows(subject.manifest)
    steps = following.shape[1]
    same = [prompt[: probes.SAME] for prompt in prompts]
    unequal, equal = logits(prompts), logits(same)
    last = len(prompts[2]) - 1
    kept = np.concatenate([following[2][: probes.KEPT], following[2][probes.CHUNK :]])
    other = np.concatenate([prompts[2], kept])[None, : last + 1 + probes.CHUNK]
    forgotten = reference.logits(other, np.ones_like(other), np.arange(other.shape[1])[None])[:, -1]
    single = [unequal[2][None, last], unequal[2][None, last + probes.CHUNK], forgotten]
    return [*_steps(unequal, prompts, steps), *_steps(equal, same, steps, probes.SELECTED), *single]


def _encoder_decoder(subject: Subject, adapter: str) -> Answers:
    reference = subject.reference("float64", adapter)
    feeds, starts, following = probes.rewriting(subject.manifest)
    logits = []
    for row, (start, more) in enumerate(zip(starts, following, strict=True)):
        length = int(feeds["attention_mask"][row].sum())
        one = {name: array[row : row + 1, :length] for name, array in feeds.items()}
        logits.append(reference.answers(one, np.concatenate([start, more])[None])[0])
    return _steps(logits, starts, following.shape[1], probes.SELECTED)
