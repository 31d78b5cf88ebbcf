"""Generation in PyTorch, driven as an engine's is."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.checkpoint.failing import running
from compiler.errors import InputError


class Decoding:
    """An `engines.Decoding` on transformers' cache. Its rows are equally long."""

    def __init__(self, model: Any, batch: int, capacity: int, options: dict[str, Any]) -> None:
        self.capacity = capacity
        self._model = model
        self._batch = batch
        self._cache: Any = None
        self._options = options
        self._tokens = "decoder_input_ids" if "encoder_outputs" in options else "input_ids"

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `engines.Decoding.step`. Raises InputError for rows of unequal length."""
        import torch

        if input_ids.shape[0] != self._batch or len(set(lengths.tolist())) != 1:
            raise InputError(
                "the reference decodes rows of one length",
                found=f"tokens {input_ids.shape}, lengths {lengths.tolist()}",
                expected=f"{self._batch} equal rows",
                action="decode rows of other lengths one by one",
            )
        with running(self._model):
            tokens = {self._tokens: torch.from_numpy(input_ids)}
            outputs = self._model(**tokens, past_key_values=self._cache, use_cache=True, **self._options)
        self._cache = outputs.past_key_values
        return outputs.logits[:, -1].numpy()  # type: ignore[no-any-return]

    def select(self, rows: np.ndarray) -> None:
        """See `engines.Decoding.select`."""
        import torch

        index = torch.from_numpy(rows)
        self._batch = len(rows)
        if self._cache is not None:
            self._cache.reorder_cache(index)
        if "encoder_outputs" in self._options:
            encoded, mask = self._options["encoder_outputs"], self._options["attention_mask"]
            chosen = type(encoded)(last_hidden_state=encoded.last_hidden_state[index])
            self._options |= {"encoder_outputs": chosen, "attention_mask": mask[index]}

    def truncate(self, length: int) -> None:
        """See `engines.Decoding.truncate`."""
        if self._batch != 1:
            raise InputError("only a single row can be truncated", found=f"{self._batch} rows", expected="1")
        if self._cache is not None and (extra := self._cache.get_seq_length() - length) > 0:
            self._cache.crop(-extra)
