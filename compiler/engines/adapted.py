"""A session with an adapter in effect: the same graph and weights, with its matrices among the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.records import CacheShape, Tensor

if TYPE_CHECKING:
    from compiler.engines import Decoding, Feeds, Session


class AdaptedSession:
    """A `Session` that feeds `matrices` with every call, beside what the caller feeds."""

    def __init__(self, session: Session, matrices: Feeds) -> None:
        self._session = session
        self._matrices = matrices

    def with_matrices(self, matrices: Feeds) -> AdaptedSession:
        """The same engine with another adapter. Only one of them may be closed."""
        return AdaptedSession(self._session, matrices)

    def run(self, feeds: Feeds) -> Feeds:
        return self._session.run({**feeds, **self._matrices})

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        return self._session.decode(cache, batch, capacity, {**(constants or {}), **self._matrices})

    def close(self) -> None:
        self._session.close()


def rank_zero(inputs: Sequence[Tensor]) -> Feeds:
    """No adapter: matrices of rank 0, whose product is exactly zero."""
    return {
        tensor.name: np.zeros([0 if dim == "rank" else int(dim) for dim in tensor.shape], tensor.dtype)
        for tensor in inputs
    }
