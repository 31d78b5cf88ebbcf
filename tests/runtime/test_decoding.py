from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler.runtime.decoding import Rows


class Counting:
    """A decoder whose next token is the last one plus 1; it records its calls."""

    capacity = 100

    def __init__(self) -> None:
        self.calls: list[tuple[list[list[int]], list[int]]] = []
        self.selected: list[list[int]] = []

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        self.calls.append((input_ids.tolist(), lengths.tolist()))
        last = np.minimum(lengths, input_ids.shape[1]) - 1
        return np.eye(50, dtype=np.float32)[input_ids[np.arange(len(lengths)), last] + 1]

    def select(self, rows: np.ndarray) -> None:
        self.selected.append(rows.tolist())

    def truncate(self, length: int) -> None:
        raise NotImplementedError


def argmax(_logits: np.ndarray, scores: np.ndarray) -> int:
    return int(scores.argmax())


def run(rows: Rows, batch: int, limits: list[int]) -> Iterator[dict[int, int]]:
    for count, chosen in enumerate(rows.steps([argmax] * batch), start=1):
        yield chosen
        for row in chosen:
            if count == limits[row]:
                rows.finish(row)


def test_unequal_prompts_are_padded_right_and_leave_the_batch_when_they_finish() -> None:
    decoding = Counting()
    rows = Rows(decoding, [[20, 21, 22], [5], [30, 31]], pad=9)
    assert list(run(rows, 3, [1, 3, 2])) == [{0: 23, 1: 6, 2: 32}, {1: 7, 2: 33}, {1: 8}]
    assert decoding.selected == [[1, 2], [0]]
    assert decoding.calls == [
        ([[20, 21, 22], [5, 9, 9], [30, 31, 9]], [3, 1, 2]),
        ([[6], [32]], [2, 3]),
        ([[7]], [3]),
    ]


def test_rows_go_on_from_what_the_cache_holds() -> None:
    decoding = Counting()
    rows = Rows(decoding, [[5, 6]], pad=0, held=[10])
    assert list(run(rows, 1, [2])) == [{0: 7}, {0: 8}]
    assert decoding.calls == [([[5, 6]], [12]), ([[7]], [13])]


def test_nothing_is_computed_after_the_last_row_has_finished() -> None:
    decoding = Counting()
    rows = Rows(decoding, [[1]], pad=0)
    assert list(run(rows, 1, [1])) == [{0: 2}]
    assert len(decoding.calls) == 1
