from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from compiler import bundle
from compiler.checkpoint.reference import Reference
from compiler.engines import open_bundle
from compiler.errors import InputError
from compiler.evaluate.likelihood import Window, log_losses, sizes, windows

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
