"""The checkpoint in PyTorch eager: the answers everything is compared with, and the speed it has to beat.

`Reference` is an `engines.Session`, so whatever drives an engine drives the reference too.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compiler.checkpoint.load import load_model
from compiler.checkpoint.quiet import quiet
from compiler.errors import InputError
from compiler.records import CacheShape
from compiler.tasks import TASKS

Feeds = dict[str, np.ndarray]


class Reference:
    """A checkpoint opened with transformers on the CPU, in one precision.

    Args:
        folder: config.json and safetensors weights.
        task: a key of `tasks.TASKS`.
        dtype: what weights and arithmetic are in.
        threads: PyTorch's threads, for the whole process; 0 leaves them as they are.

    Raises:
        UsageError, CheckpointError: see `load_model`.
    """

    def __init__(
        self, folder: Path, task: str, dtype: Literal["float32", "float64"] = "float32", threads: int = 0
    ) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self.dtype = dtype
        self._outputs = TASKS[task].outputs
        self._model: Any = load_model(folder, task, dtype)
        self._parameters = inspect.signature(self._model.forward).parameters

    def run(self, feeds: Feeds) -> Feeds:
        """One call of the model.

        Args:
            feeds: forward's arguments by name (`input_ids`, `attention_mask`, ... (batch, sequence) int64).

        Returns:
            the task's outputs by name, in the reference's dtype.
        """
        import torch

        with torch.inference_mode():
            outputs = self._model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        return {name: outputs[name].numpy() for name in self._outputs}

    def logits(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray) -> np.ndarray:
        """A decoder's logits at every position.

        Args:
            input_ids, attention_mask, position_ids: (batch, sequence) int64; models that number their positions
                themselves are not given any.

        Returns:
            (batch, sequence, vocabulary)
        """
        import torch

        positions = {"position_ids": torch.from_numpy(position_ids)} if "position_ids" in self._parameters else {}
        with torch.inference_mode():
            outputs = self._model(
                input_ids=torch.from_numpy(input_ids),
                attention_mask=torch.from_numpy(attention_mask),
                use_cache=False,
                **positions,
            )
        return outputs.logits.numpy()  # type: ignore[no-any-return]

    def generate(self, input_ids: np.ndarray, attention_mask: np.ndarray, max_new_tokens: int) -> np.ndarray:
        """Greedy continuation through transformers' own `generate`; it does not stop at an end-of-text token.

        Args:
            input_ids, attention_mask: (batch, sequence) int64, padded on the left.

        Returns:
            (batch, max_new_tokens) int64, the new tokens alone.
        """
        import torch
        from transformers import GenerationConfig

        # Replaced, not overridden: what a call leaves out is filled in from the checkpoint's own settings.
        self._model.generation_config = GenerationConfig(do_sample=False, pad_token_id=0)
        with quiet(), torch.inference_mode():
            tokens = self._model.generate(
                torch.from_numpy(input_ids),
                attention_mask=torch.from_numpy(attention_mask),
                max_new_tokens=max_new_tokens,
            )
        return tokens[:, input_ids.shape[1] :].numpy()  # type: ignore[no-any-return]

    def decode(self, cache: CacheShape | None, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        """Start a generation with transformers' own cache, which needs no `cache` shape."""
        return Decoding(self._model, batch, capacity, last_only="logits_to_keep" in self._parameters)

    def close(self) -> None:
        """Give the weights back."""
        self._model = None


class Decoding:
    """An `engines.Decoding` on transformers' cache. Its rows are equally long."""

    def __init__(self, model: Any, batch: int, capacity: int, *, last_only: bool) -> None:
        self.capacity = capacity
        self._model = model
        self._batch = batch
        self._cache: Any = None
        self._options = {"logits_to_keep": 1} if last_only else {}

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
        with torch.inference_mode():
            outputs = self._model(
                input_ids=torch.from_numpy(input_ids), past_key_values=self._cache, use_cache=True, **self._options
            )
        self._cache = outputs.past_key_values
        return outputs.logits[:, -1].numpy()  # type: ignore[no-any-return]

    def select(self, rows: np.ndarray) -> None:
        """See `engines.Decoding.select`."""
        import torch

        self._batch = len(rows)
        if self._cache is not None:
            self._cache.reorder_cache(torch.from_numpy(rows))

    def truncate(self, length: int) -> None:
        """See `engines.Decoding.truncate`."""
        if self._cache is not None:
            self._cache.crop(length)
