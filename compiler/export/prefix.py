"""Virtual tokens of a decoder as constants of its graph.

Whatever was tuned (embeddings in front of the text, or past keys and values), a causal model's virtual tokens come down
to keys and values that no text changes. Every attention sees them in front of the cache; the graph's inputs and
outputs are those of the model without them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from compiler.checkpoint.virtual import VirtualTokens
from compiler.errors import ExportError
from compiler.export.graph_inputs import Decoder, Signature, signature

MASK, POSITIONS = "attention_mask", "position_ids"


class PrefixedLayer(DynamicLayer):  # type: ignore[misc]
    """A layer's cache that shows its attention a constant prefix, and keeps the real tokens only."""

    def __init__(self, prefix: tuple[torch.Tensor, torch.Tensor], past: tuple[torch.Tensor, torch.Tensor]) -> None:
        super().__init__()
        batch = past[0].shape[0]
        self.prefix = [part.expand(batch, -1, -1, -1) for part in prefix]
        super().update(*past)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = super().update(key_states, value_states)
        return torch.cat([self.prefix[0], keys], dim=-2), torch.cat([self.prefix[1], values], dim=-2)

    def get_seq_length(self) -> int:
        return self.prefix[0].shape[-2] + self.keys.shape[-2]  # type: ignore[no-any-return]


class PrefixedDecoder(Decoder):
    """As `Decoder`, after virtual tokens: the mask gets their columns, positions count from behind them."""

    def __init__(
        self, model: torch.nn.Module, names: tuple[str, ...], past: list[tuple[torch.Tensor, torch.Tensor]]
    ) -> None:
        super().__init__(model, names)
        self.virtual = past[0][0].shape[-2]
        for layer, parts in enumerate(past):
            for part, tensor in zip(("key", "value"), parts, strict=True):
                self.register_buffer(f"virtual_{layer}_{part}", tensor)
        self.layers = len(past)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(self.names, tensors, strict=False))
        kept = tensors[len(self.names) :]
        mask = named[MASK]
        named[MASK] = torch.cat([mask.new_ones(mask.shape[0], self.virtual), mask], dim=1)
        if POSITIONS in named:
            named[POSITIONS] = named[POSITIONS] + self.virtual
        layers = [
            PrefixedLayer(
                (getattr(self, f"virtual_{layer}_key"), getattr(self, f"virtual_{layer}_value")),
                (kept[2 * layer], kept[2 * layer + 1]),
            )
            for layer in range(self.layers)
        ]
        answer = self.model(**named, past_key_values=Cache(layers=layers), use_cache=True)
        return (answer.logits, *(tensor for layer in layers for tensor in (layer.keys, layer.values)))


def prefixed(model: VirtualTokens, task: str) -> Signature:
    """The signature of a decoder without its virtual tokens, around the decoder with them.

    Raises:
        ExportError: the model is no decoder with a cache.
    """
    plain = signature(model.base, task)
    if not isinstance(plain.module, Decoder):
        raise ExportError(
            f"{type(model.base).__name__} cannot be compiled with virtual tokens",
            expected="a decoder that keeps keys and values, or an encoder",
        )
    return replace(plain, module=PrefixedDecoder(model.base, plain.module.names, model.past()))
