"""Which rows go through the model together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], tokens: int, *, padded: bool = True) -> Iterator[list[int]]:
    """Rows of similar length together, each batch of at most `tokens` with its padding (or a single row).

    Without `padded`, only rows of one length.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = lengths[row] * (len(batch) + 1) > tokens
        if batch and (full or (not padded and lengths[row] != lengths[batch[-1]])):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
