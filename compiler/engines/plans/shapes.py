"""Optimization profiles: from sizes of named dims to shapes of inputs, with the checks that TensorRT leaves out.

TensorRT takes unknown names, sizes of zero, and different ranges for one named dim without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.errors import ProfileError, did_you_mean
from compiler.records import Range, Shapes, Tensor

Shape = tuple[int, ...]
InputShapes = dict[str, tuple[Shape, Shape, Shape]]  # of every input the smallest, usual and largest shape

SINGLE: Range = (1, 1, 1)
DEFAULTS: dict[str, Range] = {"batch": SINGLE, "choices": SINGLE, "kept": SINGLE}
LENGTHS = ("sequence", "kept", "encoder_sequence", "past_sequence", "total_sequence")  # at most the context
EMPTY = ("past_sequence", "rank")  # may be 0: nothing remembered yet, no adapter
KNOWN = ("batch", "choices", *LENGTHS, "rank")


def buckets(
    shapes: Sequence[Shapes], graphs: Sequence[Sequence[Tensor]], context: int, capacity: int | None = None
) -> tuple[Shapes, ...]:
    """The ranges of every dim of a model's graphs, checked and cut.

    Args:
        shapes: what was asked for; a name of `KNOWN` that these graphs lack is passed over.
        graphs: of every graph its inputs.
        context: tokens that the model can take at most.
        capacity: columns of its cache, where they are fixed.

    Returns:
        a range for every named dim of every graph; buckets that became equal are one.

    Raises:
        ProfileError: a name that no graph has, a range that is none, or a dim without a range.
    """
    dims = list(dict.fromkeys(dim for inputs in graphs for tensor in inputs for dim in tensor.shape if _named(dim)))
    limits = dict.fromkeys(LENGTHS, context) | dict.fromkeys(("sequence", "kept"), min(context, capacity or context))
    found: list[Shapes] = []
    for number, bucket in enumerate(shapes or [{}], 1):
        where = f"bucket {number} of shapes" if shapes else "shapes"
        for name, range_ in bucket.items():
            _check_name(where, name, dims)
            _check_range(where, name, range_)
        given = _with_past(bucket, context) if "past_sequence" in dims else bucket
        ranges = {str(dim): _cut(where, str(dim), given, limits) for dim in dims}
        if "total_sequence" in ranges:
            past, new = ranges["past_sequence"], ranges["sequence"]
            ranges["total_sequence"] = (past[0] + new[0], past[1] + new[1], past[2] + new[2])
        if ranges not in found:
            found.append(ranges)
    return tuple(found)


def input_shapes(bucket: Shapes, inputs: Sequence[Tensor]) -> InputShapes:
    """The smallest, usual and largest shape of every input."""
    return {
        tensor.name: (_sized(tensor, bucket, 0), _sized(tensor, bucket, 1), _sized(tensor, bucket, 2))
        for tensor in inputs
    }


def _with_past(bucket: Shapes, context: int) -> Shapes:
    """What a growing cache holds, where the bucket does not say: nothing before a prompt, anything before one token."""
    past = (0, context // 2, context - 1) if bucket.get("sequence") == SINGLE else (0, 0, 0)
    return {"past_sequence": past, "total_sequence": SINGLE, **bucket}


def _named(dim: int | str) -> bool:
    return isinstance(dim, str)


def _check_name(where: str, name: str, dims: Sequence[int | str]) -> None:
    if name not in dims and name not in KNOWN:
        words = [str(dim) for dim in dims]
        raise ProfileError(
            f'{where}: no input has a dim "{name}"',
            expected=", ".join(words),
            action=did_you_mean(name, (*words, *KNOWN)) or "name one of these",
        )


def _check_range(where: str, name: str, range_: Range) -> None:
    low, usual, high = range_
    least = 0 if name in EMPTY else 1
    if not (least <= low <= usual <= high and high > 0):
        raise ProfileError(
            f'{where}: not a range for "{name}"',
            found=", ".join(map(str, range_)),
            expected=f"the smallest size (at least {least}), the usual and the largest, in this order",
            action="correct it",
        )


def _cut(where: str, dim: str, bucket: Shapes, limits: Mapping[str, int]) -> Range:
    range_ = bucket.get(dim) or DEFAULTS.get(dim)
    if range_ is None:
        raise ProfileError(
            f'{where}: no sizes for "{dim}"',
            found=", ".join(bucket) or "nothing",
            expected=f"{dim} = [smallest, usual, largest]",
            action="add it to the shapes of the profile",
        )
    low, usual, high = range_
    limit = limits.get(dim, high)
    return min(low, limit), min(usual, limit), min(high, limit)


def _sized(tensor: Tensor, bucket: Shapes, which: int) -> Shape:
    return tuple(bucket[dim][which] if isinstance(dim, str) else dim for dim in tensor.shape)
