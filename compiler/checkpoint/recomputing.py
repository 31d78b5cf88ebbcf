"""Permutation language models (XLNet), which read the whole text again for every token that follows."""

from __future__ import annotations

from typing import Any

import numpy as np


class Recomputing:
    """An `engines.Decoding` for models without a key/value cache. Its rows are equally long."""

    def __init__(self, model: Any, batch: int, capacity: int) -> None:
        self.capacity = capacity
        self._model = model
        self._ids = np.zeros((batch, 0), np.int64)

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `engines.Decoding.step`."""
        self._ids = np.concatenate([self._ids, input_ids], axis=1)
        return next_logits(self._model, self._ids, np.ones_like(self._ids))

    def select(self, rows: np.ndarray) -> None:
        """See `engines.Decoding.select`."""
        self._ids = self._ids[rows]

    def truncate(self, length: int) -> None:
        """See `engines.Decoding.truncate`."""
        self._ids = self._ids[:, :length]


def next_logits(model: Any, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
    """What a permutation language model (XLNet) expects after a text, asked as its own `generate` asks.

    Args:
        input_ids, attention_mask: (batch, sequence) int64.

    Returns:
        (batch, vocabulary)
    """
    import torch

    ids = torch.nn.functional.pad(torch.from_numpy(input_ids), (0, 1))
    mask = torch.nn.functional.pad(torch.from_numpy(attention_mask), (0, 1), value=1)
    hidden = torch.zeros(*ids.shape, ids.shape[1])
    hidden[:, :, -1] = 1
    target = torch.zeros(ids.shape[0], 1, ids.shape[1])
    target[:, 0, -1] = 1
    dtype = model.dtype
    with torch.inference_mode():
        outputs = model(
            ids,
            attention_mask=mask.to(dtype),
            perm_mask=hidden.to(dtype),
            target_mapping=target.to(dtype),
            use_mems=False,
        )
    return outputs.logits[:, 0].numpy()  # type: ignore[no-any-return]
