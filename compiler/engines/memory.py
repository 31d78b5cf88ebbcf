"""Memory for what a generation remembers: counted before any of it is taken."""

from __future__ import annotations

import numpy as np

from compiler.errors import InputError
from compiler.machine import available_memory
from compiler.records import CacheShape


def cache_bytes(cache: CacheShape, batch: int, capacity: int) -> int:
    """Bytes of the keys and values of `batch` rows with `capacity` tokens; a cache that grows is there twice."""
    values = 2 * cache.layers * batch * cache.kv_heads * (cache.capacity or capacity) * cache.head_dim
    return values * np.dtype(cache.dtype).itemsize * (2 if cache.layout == "concatenated" else 1)


def require_room(cache: CacheShape, batch: int, capacity: int) -> None:
    """Raises InputError where such a cache would not fit into the memory that is left."""
    if (size := cache_bytes(cache, batch, capacity)) > (left := available_memory()):
        raise InputError(
            "the key/value cache does not fit into memory",
            found=f"{size / 1e9:,.1f} GB for {batch} rows of {cache.capacity or capacity} tokens",
            expected=f"at most {left / 1e9:,.1f} GB, which are left",
            action="give fewer or shorter prompts at once, fewer beams or a smaller max_new_tokens",
        )
