from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler.runtime.decoding import Rows


class Counting:
    """A decoder whose next token is the last one plus 1; it records its calls."""

    capacity = 100

    def __init__(self) -> None:
        self.calls: list[tuple[list[list[int]], list[int]]] = []
        self._lengths: np.ndarray | int = 0

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        self.calls.append((input_ids.tolist(), lengths.tolist()))
        last = np.maximum(lengths - self._lengths, 1) - 1
        self._lengths = lengths.copy()
        return np.eye(50, dtype=np.float32)[input_ids[np.arange(len(lengths)), last] + 1]


def argmax(logits: np.ndarray) -> int:
    return int(logits.argmax())


def run(rows: Rows, batch: int, limits: list[int]) -> Iterator[dict[int, int]]:
    for count, chosen in enumerate(rows.steps([argmax] * batch), start=1):
        yield chosen
        for row in chosen:
            if count == limits[row]:
                rows.finish(row)


def test_unequal_prompts_are_padded_right_and_finish_on_their_own() -> None:
    decoding = Counting()
    rows = Rows(decoding, [[5], [20, 21, 22]], pad=9)
    assert list(run(rows, 2, [3, 1])) == [{0: 6, 1: 23}, {0: 7}, {0: 8}]
    assert decoding.calls == [
        ([[5, 9, 9], [20, 21, 22]], [1, 3]),
        ([[6], [23]], [2, 3]),
        ([[7], [0]], [3, 3]),
    ]


def test_nothing_is_computed_after_the_last_row_has_finished() -> None:
    decoding = Counting()
    rows = Rows(decoding, [[1]], pad=0)
    assert list(run(rows, 1, [1])) == [{0: 2}]
    assert len(decoding.calls) == 1
