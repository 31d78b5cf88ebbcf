"""Inputs for one small call of a lowered model: an engine is tried with them once it is built."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.engines import Feeds
from compiler.errors import EngineError
from compiler.records import Optimized, Tensor

TOKENS = 32
DIMS = {"batch": 1, "choices": 2, "sequence": TOKENS, "encoder_sequence": TOKENS, "kept": 1, "rank": 0}
STEP = {**DIMS, "sequence": 1, "past_sequence": TOKENS, "total_sequence": TOKENS + 1}


def sample_feeds(optimized: Optimized) -> Feeds:
    """One small call: 32 tokens for an encoder, one more token after 32 for a decoder."""
    cache = optimized.cache
    dims = STEP if cache is not None and cache.layout != "none" else DIMS
    if cache is not None and cache.capacity is not None:
        dims = dims | {"past_sequence": min(TOKENS, cache.capacity - 1)}
    return {tensor.name: sample(tensor, dims) for tensor in optimized.inputs}


def sample(tensor: Tensor, dims: Mapping[str, int] = DIMS) -> np.ndarray:
    """Values that an input may have, at these sizes of its named dims: ids of 0, nothing masked."""
    try:
        shape = [dims[dim] if isinstance(dim, str) else dim for dim in tensor.shape]
    except KeyError as error:
        raise EngineError(
            f'input "{tensor.name}": unknown dim {error}', found=str(tensor.shape), expected=", ".join(dims)
        ) from error
    match tensor.name:
        case "attention_mask" | "encoder_attention_mask":
            return np.ones(shape, tensor.dtype)
        case "position_ids":
            first = dims.get("past_sequence", 0)
            return np.broadcast_to(np.arange(first, first + shape[-1], dtype=tensor.dtype), shape).copy()
        case _:
            return np.zeros(shape, tensor.dtype)
