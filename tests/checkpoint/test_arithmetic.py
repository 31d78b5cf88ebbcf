"""The same answers, their sums taken in another order."""

from __future__ import annotations

import pytest
import torch

from compiler.checkpoint.arithmetic import reordered, widen_arguments


def mixed(given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    states = torch.nn.functional.linear(given, weight, weight[:, 0])
    heads = states.reshape(2, 4, 5, 20)
    attended = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
    return torch.addmm(weight[0], attended.reshape(-1, 100), weight.T) + (attended @ attended.mT).mean()


def test_answers_differ_by_rounding_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(2, 4, 100, generator=generator)
    weight = torch.randn(100, 100, generator=generator) / 10
    plain, other = mixed(given, weight), reordered(mixed)(given, weight)
    exact = mixed(given.double(), weight.double())
    apart, rounding = (float((each - exact).abs().max()) for each in (other, plain))
    assert not torch.equal(plain, other)
    assert apart < 10 * rounding
    assert float((plain - other).abs().max()) > rounding / 10


@pytest.mark.parametrize("inner", [1, 2, 3, 4, 7])
def test_every_number_is_added_once(inner: int) -> None:
    left, right = torch.arange(2.0 * inner).reshape(2, inner), torch.ones(inner, 3)
    assert torch.equal(reordered(torch.matmul)(left, right), left @ right)
    assert torch.equal(reordered(torch.nn.functional.linear)(left, right.T), left @ right)


def test_a_module_that_models_share_takes_float32_again_afterwards() -> None:
    """transformers has one module for all models' gelu."""
    shared = torch.nn.GELU()
    wide, narrow = (torch.nn.Sequential(torch.nn.Linear(3, 3, dtype=dtype), shared) for dtype in (torch.double, None))
    given = torch.ones(1, 3)
    undo = widen_arguments(wide)
    assert wide(given).dtype == torch.float64
    undo()
    assert narrow(given).dtype == torch.float32
