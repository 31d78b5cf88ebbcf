"""Mixtures of experts while tracing: what transformers calls in place of its grouped kernels.

Every expert is computed for every token and weighted by what the router gave it, zero for most. That is exact for any
routing and has no shape that depends on values; it costs (experts / experts per token) times the arithmetic.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.integrations.moe import ExpertsInterface

NAME = "portable"


def experts(
    module: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """The weighted sum of the chosen experts.

    Args:
        module: holds the weights of all experts, stacked along their first axis.
        hidden_states: (tokens, hidden).
        top_k_index, top_k_weights: (tokens, k), the experts chosen for each token and their weights.

    Returns:
        (tokens, hidden).
    """
    chosen = torch.nn.functional.one_hot(top_k_index, module.num_experts).to(top_k_weights.dtype)
    shares = (chosen * top_k_weights[..., None]).sum(dim=1)  # (tokens, experts)
    states = _linear(module, "gate_up_proj" if module.has_gate else "up_proj", hidden_states[None])
    states = module._apply_gate(states) if module.has_gate else module.act_fn(states)
    states = _linear(module, "down_proj", states)  # (experts, tokens, hidden)
    if module.has_post_expert_norm:
        states = module.post_expert_norm(states)
    return (states * shares.transpose(0, 1)[..., None]).sum(dim=0).to(hidden_states.dtype)


def _linear(module: Any, name: str, states: torch.Tensor) -> torch.Tensor:
    """One stacked layer: (experts or 1, tokens, in) -> (experts, tokens, out)."""
    weight = getattr(module, name)
    result = torch.matmul(states, weight if module.is_transposed else weight.transpose(1, 2))
    return result + getattr(module, f"{name}_bias")[:, None] if module.has_bias else result


def register(model: Any) -> None:
    """Make a model with experts use `experts`; others stay as they are. Harmless when repeated."""
    if model._can_set_experts_implementation():
        ExpertsInterface.register(NAME, experts)
        model.set_experts_implementation(NAME)


@contextmanager
def dense_experts(model: torch.nn.Module) -> Iterator[None]:
    """Within the block, experts that are a loop over those that were chosen (Switch) are all computed, as above.

    Which modules are of this kind is not read from their names: each is run on random numbers beside the formula.
    """
    changed = [(module, dense) for module in model.modules() if (dense := _dense(module))]
    routers: list[Any] = [module.classifier for module in model.modules() if _converts(module)]
    for module, dense in changed:
        module.forward = dense
    for router in routers:
        router.to = lambda *_, router=router: router
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward
        for router in routers:
            del router.to


def _converts(module: Any) -> bool:
    """Whether it is a router that calls `to`, which no tracer follows, with the dtype that its weights have already."""
    known = hasattr(module, "num_experts") and isinstance(getattr(module, "classifier", None), torch.nn.Linear)
    return known and module.classifier.weight.dtype == getattr(module, "dtype", None)


def _dense(module: torch.nn.Module) -> Callable[..., torch.Tensor] | None:
    """The sum over all experts, where the module computes that from (states, chosen, weights); None where it does not.

    States are (tokens, hidden), the chosen experts (tokens, k, experts) of 0 and 1, their weights (tokens, k).
    """
    experts = [child for child in module.children() if any(True for _ in child.parameters())]
    alike = len({type(expert) for expert in experts}) == 1 and getattr(module, "num_experts", None) == len(experts)
    if not alike or len(inspect.signature(module.forward).parameters) != 3:
        return None

    def dense(states: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        shares = (chosen * weights[..., None]).sum(dim=1)  # (tokens, experts)
        return sum(
            (expert(states) * shares[:, place : place + 1] for place, expert in enumerate(experts)),
            torch.zeros_like(states),
        )

    generator, weight = torch.Generator().manual_seed(0), next(experts[0].parameters())
    tokens, count = 2 * len(experts) + 1, len(experts)
    states = torch.randn(tokens, weight.shape[-1], generator=generator).to(weight.dtype)
    chosen = torch.nn.functional.one_hot(torch.arange(tokens)[:, None] % count, count)
    chosen[-1] = 0  # no expert had room for it
    weights = torch.rand(tokens, 1, generator=generator).to(weight.dtype)
    try:
        with torch.no_grad():
            same = torch.allclose(module(states, chosen, weights), dense(states, chosen, weights), atol=1e-5)
    except Exception:  # noqa: BLE001 - it takes other numbers
        return None
    return dense if same else None
