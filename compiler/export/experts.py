"""Mixtures of experts while tracing: what transformers calls in place of its grouped kernels.

Every expert is computed for every token and weighted by what the router gave it, zero for most. That is exact for any
routing and has no shape that depends on values; it costs (experts / experts per token) times the arithmetic.
"""

from __future__ import annotations

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
