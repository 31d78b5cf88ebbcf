from __future__ import annotations

from compiler.runtime.batching import batches


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [3, 50, 1, 7, 7, 200, 12, 9]
    made = list(batches(lengths, 64))
    assert sorted(row for batch in made for row in batch) == list(range(8))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 64 for batch in made)
    assert [5] in made
    assert list(batches([], 64)) == []


def test_unpadded_batches_hold_rows_of_one_length() -> None:
    lengths = [3, 7, 3, 7, 40, 3, 7]
    assert list(batches(lengths, 14, padded=False)) == [[0, 2, 5], [1, 3], [6], [4]]
