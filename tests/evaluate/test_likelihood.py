from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from compiler import bundle
from compiler.checkpoint.reference import Reference
from compiler.engines import Session, open_bundle
from compiler.errors import InputError
from compiler.evaluate import likelihood
from compiler.evaluate.likelihood import Window, batches, log_losses, sizes, windows

LENGTHS = (3, 40, 8, 16, 17, 1, 2)
SIZE, STRIDE = 16, 6


def texts() -> list[list[int]]:
    generator = np.random.default_rng(0)
    return [generator.integers(3, 250, length).tolist() for length in LENGTHS]


def test_every_token_but_the_first_is_scored_once() -> None:
    cover = windows(LENGTHS, SIZE, STRIDE)
    for text, length in enumerate(LENGTHS):
        own = [window for window in cover if window.text == text]
        assert [token for w in own for token in range(w.first, w.end)] == list(range(1, length))
        assert all(w.end - w.begin <= SIZE and w.begin < w.first for w in own)
        assert all(after.begin - before.begin == STRIDE for before, after in pairwise(own))
    assert cover[:2] == [Window(0, 0, 3, 1), Window(1, 0, 16, 1)]


def test_windows_that_do_not_fit() -> None:
    assert sizes(64, None, None) == (64, 32)
    assert sizes(4096, None, None) == (1024, 512)
    assert sizes(64, 20, 5) == (20, 5)
    for window, stride in ((65, None), (20, 20)):
        with pytest.raises(InputError):
            sizes(64, window, stride)


def by_hand(folder: Path, tokens: list[int]) -> np.ndarray:
    """Window by window, one at a time, as the definition says."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    losses = np.zeros(len(tokens) - 1)
    done, begin = 1, 0
    while done < len(tokens):
        part = torch.tensor(tokens[begin : begin + SIZE])
        with torch.inference_mode():
            logits = model(part[None]).logits[0].double()
        for token in range(done, begin + len(part)):
            place = token - begin
            losses[token - 1] = -torch.log_softmax(logits[place - 1], -1)[part[place]]
        done, begin = begin + len(part), begin + STRIDE
    return losses


@pytest.mark.parametrize("side", ["engine", "reference"])
def test_losses_are_transformers_own(tiny_decoder: Path, decoder_bundle: Path, side: str) -> None:
    manifest = bundle.read(decoder_bundle)
    made = (
        open_bundle(decoder_bundle, manifest, manifest.options)
        if side == "engine"
        else Reference(tiny_decoder, "text-generation")
    )
    with closing(made) as session:
        found = log_losses(session, manifest, texts(), SIZE, STRIDE)
    for tokens, losses in zip(texts(), found, strict=True):
        np.testing.assert_allclose(losses, by_hand(tiny_decoder, tokens), atol=1e-4)


def test_a_batch_reads_and_scores_about_as_much_in_every_row() -> None:
    cover = windows([40] * 6 + [9, 3], SIZE, STRIDE)
    made = list(batches(cover, 64))
    assert sorted(window for batch in made for window in batch) == sorted(cover)
    assert all(len(batch) * max(window.read for window in batch) <= 64 for batch in made)
    padded = sum(len(batch) * max(window.scored for window in batch) for batch in made)
    assert padded < 1.2 * sum(window.scored for window in cover)  # 1.9 in the order of the texts
    assert [len(batch) for batch in batches(cover, 1)] == [1] * len(cover)


def test_only_logits_that_are_scored_are_asked_for(decoder_bundle: Path) -> None:
    manifest = bundle.read(decoder_bundle)
    asked: list[np.ndarray] = []

    class Watched:
        def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            asked.append(feeds["logits_positions"])
            return session.run(feeds)

    with closing(open_bundle(decoder_bundle, manifest, manifest.options)) as session:
        log_losses(cast("Session", Watched()), manifest, [list(range(3, 43))] * 3, SIZE, STRIDE)
    assert sum(places.size for places in asked) == 3 * 39
    assert max(int(places.max()) for places in asked) == SIZE - 2  # the last token is not read


def test_losses_of_large_logits_and_of_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(33, 50)).astype(np.float32) * 2000
    before, targets = logits.copy(), generator.integers(50, size=33)
    monkeypatch.setattr(likelihood, "CELLS", 200)  # four tokens at once
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(33), targets]
    np.testing.assert_allclose(likelihood._reduced(logits, targets), expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(logits, before)
