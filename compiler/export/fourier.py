"""Fourier transforms while tracing: products of real matrices in place of the DFT operator.

FNet mixes a text by the real part of its transform along tokens and width. ONNX Runtime's DFT errs by a thousandth of
the answers' size at a width of 768, products with exact tables by two millionths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

SAMPLE = (2, 6)  # texts and tokens of the trial

Mixing = Callable[[torch.Tensor], tuple[torch.Tensor]]


@contextmanager
def real_fourier(model: Any) -> Iterator[None]:
    """Within the block, modules that give the real part of a transform compute it by products.

    Which ones do is found by running each on random numbers beside the formula.
    """
    candidates = [module for module in model.modules() if hasattr(module, "fourier_transform")]
    mixing = _mixing(model.config.hidden_size) if candidates else None
    changed = [module for module in candidates if mixing and _same(module, mixing, model.config.hidden_size)]
    for module in changed:
        module.forward = mixing
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _mixing(width: int) -> Mixing:
    """States (batch, sequence, width) to the real part of their transform along the last two axes, of the same shape.

    With C and S the tables of cosines and sines of a length, Re(F X F) = C X C - S X S.
    """
    cosine, sine = (table.to(torch.float32) for table in _tables(width, torch.float64))

    def mixing(states: torch.Tensor) -> tuple[torch.Tensor]:
        c, s = _tables(states.shape[1], states.dtype)
        return (c @ (states @ cosine) - s @ (states @ sine),)

    return mixing


def _tables(length: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin of 2 pi j k / length, (length, length); of angles from -pi to pi, where float32 is most exact."""
    steps = torch.arange(length)
    whole = steps[-1:] + 1  # the length as a tensor, for a remainder by a number has no form in ONNX
    turns = steps[:, None] * steps % whole
    turns = torch.where(2 * turns > whole, turns - whole, turns)
    angles = turns.to(dtype) * (2 * math.pi) / whole.to(dtype)
    return angles.cos(), angles.sin()


def _same(module: torch.nn.Module, mixing: Mixing, width: int) -> bool:
    states = torch.randn(*SAMPLE, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        try:
            (found,) = module(states)
        except Exception:  # noqa: BLE001 - it takes other numbers
            return False
        (expected,) = mixing(states)
    scale = float(expected.abs().max())
    return isinstance(found, torch.Tensor) and torch.allclose(found, expected, rtol=0, atol=1e-5 * scale)
