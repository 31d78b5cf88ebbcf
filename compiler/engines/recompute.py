"""Generation with a model that has no key/value cache: every step reads the whole text again."""

from __future__ import annotations

import numpy as np

from compiler.engines import Feeds, Session
from compiler.engines.truncation import require_truncatable
from compiler.errors import ContextError


class RecomputeDecoding:
    """A `compiler.engines.Decoding` that remembers tokens only. The graph takes rows padded on the left."""

    def __init__(self, session: Session, batch: int, capacity: int, constants: Feeds) -> None:
        self.capacity = capacity
        self._session = session
        self._constants = constants
        self._rows: list[list[int]] = [[] for _ in range(batch)]

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `compiler.engines.Decoding.step`. Raises ContextError beyond the capacity."""
        longest = int(lengths.max())
        if longest > self.capacity:
            raise ContextError("the text is too long", found=f"{longest} tokens", expected=f"at most {self.capacity}")
        for row, new, length in zip(self._rows, input_ids.tolist(), lengths.tolist(), strict=True):
            row.extend(new[: length - len(row)])
        ids = np.zeros((len(self._rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(self._rows):
            ids[index, longest - len(row) :] = row
            mask[index, longest - len(row) :] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, **self._constants}
        logits: np.ndarray = self._session.run(feeds)["logits"][:, -1]
        return logits

    def select(self, rows: np.ndarray) -> None:
        """See `compiler.engines.Decoding.select`."""
        self._rows = [list(self._rows[row]) for row in rows]

    def truncate(self, length: int) -> None:
        """See `compiler.engines.Decoding.truncate`."""
        require_truncatable(len(self._rows), length, len(self._rows[0]))
        del self._rows[0][length:]
