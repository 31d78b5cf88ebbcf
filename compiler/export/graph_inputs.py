"""What is traced: the model with flat, named, tensor-only inputs, and samples that lose no part of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from compiler.records import CacheShape
from compiler.tasks import TASKS

BATCH, SEQUENCE, PAST = 2, 3, 4


@dataclass(frozen=True)
class Signature:
    """Names of the graph's inputs and outputs with their dims, and sample inputs in the same order."""

    module: torch.nn.Module
    inputs: dict[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]
    samples: tuple[torch.Tensor, ...]
    cache: CacheShape | None


class Encoder(torch.nn.Module):
    """Flat inputs by name, the task's outputs."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names, self.outputs = model, names, outputs

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = self.model(**dict(zip(self.names, tensors, strict=True)))
        return tuple(answer[name] for name in self.outputs)


class Decoder(torch.nn.Module):
    """Token inputs by name, then past keys and values layer by layer; gives logits, then present keys and values."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named, past = tensors[: len(self.names)], tensors[len(self.names) :]
        cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        answer = self.model(**dict(zip(self.names, named, strict=True)), past_key_values=cache, use_cache=True)
        present = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        return (answer.logits, *present)


def signature(model: Any, task: str) -> Signature:
    """Wrap `model` for tracing.

    Samples have unequal row lengths: on a mask of ones transformers skips the mask, and the graph would lose it.
    """
    accepted = inspect.signature(model.forward).parameters
    decoder = TASKS[task].kind == "decoder"
    past = PAST if decoder else 0
    ids = torch.arange(BATCH * SEQUENCE).reshape(BATCH, SEQUENCE) % 7 + 2
    mask = torch.ones(BATCH, past + SEQUENCE, dtype=torch.int64)
    mask[0, :1] = 0
    named: dict[str, tuple[torch.Tensor, tuple[int | str, ...]]] = {
        "input_ids": (ids, ("batch", "sequence")),
        "attention_mask": (mask, ("batch", "total_sequence" if decoder else "sequence")),
    }
    if decoder and "position_ids" in accepted:
        positions = torch.arange(past, past + SEQUENCE).expand(BATCH, SEQUENCE).contiguous()
        named["position_ids"] = (positions, ("batch", "sequence"))
    if not decoder and "token_type_ids" in accepted and getattr(model.config, "type_vocab_size", 0) > 1:
        named["token_type_ids"] = (torch.zeros_like(ids), ("batch", "sequence"))

    names = tuple(named)
    inputs = {name: dims for name, (_, dims) in named.items()}
    samples = [tensor for tensor, _ in named.values()]
    if not decoder:
        outputs = TASKS[task].outputs
        return Signature(Encoder(model, names, outputs), inputs, outputs, tuple(samples), None)

    cache = cache_shape(model.config)
    results = ["logits"]
    for layer in range(cache.layers):
        for part in ("key", "value"):
            inputs[f"past_key_values.{layer}.{part}"] = ("batch", cache.kv_heads, "past_sequence", cache.head_dim)
            results.append(f"present.{layer}.{part}")
            samples.append(torch.randn(BATCH, cache.kv_heads, past, cache.head_dim))
    return Signature(Decoder(model, names), inputs, tuple(results), tuple(samples), cache)


def cache_shape(config: Any) -> CacheShape:
    heads = config.num_attention_heads
    return CacheShape(
        layers=config.num_hidden_layers,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
    )
