"""Shapes from recorded traffic: a histogram of lengths, and the few buckets that waste the least on padding.

The waste is what fixed shapes would cost: every request padded to the longest of its bucket. For every number of
buckets the split with the least padding is found exactly, and the fewest buckets are taken that come close to the most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from compiler.errors import InputError
from compiler.records import CacheShape, Exported, Kind, Manifest, Range, Record, Shapes

MOST = 4  # buckets: a plan holds a set of kernels for each
CLOSE = 0.03  # of the share of padding that the most buckets leave

# The dim that the length of a request is a size of.
LENGTH: dict[Kind, str] = {"encoder": "sequence", "decoder": "sequence", "encoder-decoder": "encoder_sequence"}

WHOLE = 16  # tokens; the largest size of a bucket is a multiple. TensorRT for RTX 1.7 fails on one row of at most 8
FORM = '37, {"tokens": 37} or {"batch": 4, "tokens": 37}'


# Lines are read up to this many bytes, and sizes up to what 32 bits hold.
LONGEST = 1000
Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the file. `tokens` are those of the longest text where `batch` texts came at once."""

    tokens: Size
    batch: Size | None = None


class Request(NamedTuple):
    """`batch` 0: the file does not say."""

    tokens: int
    batch: int


Traffic = dict[Request, int]  # how often each came


class Buckets(Record, frozen=True):
    """What recorded traffic made of a recipe's shapes.

    Attributes:
        shapes: the buckets, as plans are built for.
        lengths: of each bucket its longest request, in tokens.
        padding: with 1, 2, ... buckets the share of tokens that is padding, where each request is padded to the
            longest of its bucket.
        requests: lines of the file.
        cut: of these, how many are longer than the model can take.
        limit: tokens that it can take.
    """

    shapes: tuple[Shapes, ...]
    lengths: tuple[int, ...]
    padding: tuple[float, ...]
    requests: int
    cut: int
    limit: int

    @property
    def text(self) -> str:
        """All of it for a person, in one line."""
        steps = [f"{self.padding[0]:.1%} of what is computed is padding with 1 bucket"]
        steps += [
            f"{now:.1%} with {count} ({before - now:.1%} less)"
            for count, (before, now) in enumerate(pairwise(self.padding), 2)
        ]
        noun = "bucket" if len(self.lengths) == 1 else "buckets"
        chosen = f"{len(self.lengths)} {noun} of at most {', '.join(map(str, self.lengths))} tokens"
        cut = f"; {self.cut} of {self.requests} requests are cut to the {self.limit} tokens that the model takes"
        return f"{chosen}: {', '.join(steps)}{cut if self.cut else ''}"


def read(path: Path) -> Traffic:
    """The requests in a file with a number, or an object with `tokens` and maybe `batch`, on every line.

    Raises:
        InputError: no such file, nothing in it, or a line that is none of these; the message has its number.
    """
    found: Counter[Request] = Counter()
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST), b""), 1):
                if text := line.removeprefix(b"\xef\xbb\xbf").strip():
                    found[_request(path, number, text)] += 1
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise InputError(
            f"{path}: cannot be read", found=getattr(error, "strerror", None) or str(error), expected=FORM
        ) from error
    if not found:
        raise InputError(f"{path}: no requests", found="an empty file", expected=f"a line for every request: {FORM}")
    return dict(found)


def fit(traffic: Traffic, shapes: Sequence[Shapes], kind: Kind, limit: int) -> Buckets:
    """Buckets for a model out of what was sent to it.

    Args:
        traffic: at least one request.
        shapes: of the recipe. Those for single tokens stay as they are; the others give the sizes that the traffic
            does not tell: every dim but the length, and the batch where no request names one.
        kind: of the model, which decides what the length is called.
        limit: tokens that the model can take; longer requests are cut.
    """
    weights: Counter[int] = Counter()  # rows of each length
    for request, count in traffic.items():
        weights[min(request.tokens, limit)] += count * max(request.batch, 1)
    lengths = sorted(weights)
    splits = split(lengths, [weights[length] for length in lengths], MOST)
    real = sum(length * weights[length] for length in lengths)
    padding = tuple(1 - real / computed for computed, _ in splits)
    ends = next(ends for (_, ends), share in zip(splits, padding, strict=True) if share - padding[-1] <= CLOSE)
    return Buckets(
        shapes=_shapes(traffic, ends, shapes, LENGTH[kind], limit),
        lengths=ends,
        padding=tuple(round(share, 6) for share in padding),
        requests=sum(traffic.values()),
        cut=sum(count for request, count in traffic.items() if request.tokens > limit),
        limit=limit,
    )


def fit_model(
    traffic: Traffic, shapes: Sequence[Shapes], model: Exported | Manifest, cache: CacheShape | None
) -> Buckets:
    """The same for a model with this cache."""
    room = cache.capacity if cache and cache.capacity else model.context_length
    return fit(traffic, shapes, model.kind, min(model.context_length, room))


def split(lengths: Sequence[int], weights: Sequence[int], most: int) -> list[tuple[int, tuple[int, ...]]]:
    """For at most 1, 2, ... `most` buckets: the fewest tokens computed, and the longest length of each bucket.

    The minimum is exact: dynamic programming over the sorted lengths, where the cost of lengths i .. j in one bucket
    is length j times the rows from i to j.

    Args:
        lengths: ascending, each once, at least one.
        weights: rows of each length, positive.
        most: no more entries than there are lengths are given.
    """
    rows = [0, *accumulate(weights)]
    best = [0, *(length * total for length, total in zip(lengths, rows[1:], strict=True))]
    cuts: list[list[int]] = []
    found: list[tuple[int, tuple[int, ...]]] = [(best[-1], (lengths[-1],))]
    for _ in range(1, min(most, len(lengths))):
        best, cut = _one_more(best, lengths, rows)
        cuts.append(cut)
        ends, end = [lengths[-1]], len(lengths)
        for before in reversed(cuts):
            if end := before[end]:
                ends.append(lengths[end - 1])
            else:
                break
        found.append((best[-1], tuple(reversed(ends))))
    return found


def _one_more(best: Sequence[int], lengths: Sequence[int], rows: Sequence[int]) -> tuple[list[int], list[int]]:
    """With one more bucket: the fewest tokens for the first j lengths, and how many of them the last bucket leaves.

    The cost satisfies the quadrangle inequality, so the best cut never moves down as j grows: once it is known for the
    middle, each half looks on one side of it only (divide and conquer, n log n).
    """
    size = len(lengths)
    least, cut = [0] * (size + 1), [0] * (size + 1)
    pending = [(1, size, 0, size - 1)]
    while pending:
        low, high, first, last = pending.pop()
        if low > high:
            continue
        middle = (low + high) // 2
        costs = {
            at: best[at] + lengths[middle - 1] * (rows[middle] - rows[at])
            for at in range(first, min(last, middle - 1) + 1)
        }
        cut[middle] = min(costs, key=costs.__getitem__)
        least[middle] = costs[cut[middle]]
        pending += [(low, middle - 1, first, cut[middle]), (middle + 1, high, cut[middle], last)]
    return least, cut


def _shapes(
    traffic: Traffic, ends: Sequence[int], shapes: Sequence[Shapes], length: str, limit: int
) -> tuple[Shapes, ...]:
    single = [bucket for bucket in shapes if length in bucket and bucket[length][2] == 1]
    others = [bucket for bucket in shapes if bucket not in single] or [{}]
    found: list[Shapes] = []
    for begin, end in pairwise((0, *ends)):
        inside = {request: count for request, count in traffic.items() if begin < min(request.tokens, limit) <= end}
        tokens: Counter[int] = Counter()
        batches: Counter[int] = Counter()
        for request, count in inside.items():
            tokens[min(request.tokens, limit)] += count
            batches[max(request.batch, 1)] += count
        batch = (1, _median(batches), max(batches)) if any(request.batch for request in traffic) else _widest(others)
        for bucket in others:
            longest = min(-(-end // WHOLE) * WHOLE, limit)
            made = {**bucket, "batch": batch, length: (1, _median(tokens), longest)}
            if made not in found:
                found.append(made)
    return (*found, *single)


def _median(counts: Counter[int]) -> int:
    half = sum(counts.values()) / 2
    values = sorted(counts)
    return next(
        value
        for value, below in zip(values, accumulate(counts[value] for value in values), strict=True)
        if below >= half
    )


def _widest(shapes: Sequence[Shapes]) -> Range:
    """One range of batches that covers those of all buckets."""
    ranges = [bucket.get("batch", (1, 1, 1)) for bucket in shapes]
    return min(low for low, _, _ in ranges), max(usual for _, usual, _ in ranges), max(high for _, _, high in ranges)


def _request(path: Path, number: int, text: bytes) -> Request:
    try:
        line = msgspec.json.decode(text, type=Line | int)
        if isinstance(line, int):
            line = msgspec.convert({"tokens": line}, Line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line {number}: not a request", found=str(error), expected=FORM) from error
    return Request(line.tokens, line.batch or 0)
