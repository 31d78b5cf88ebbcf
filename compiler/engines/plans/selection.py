"""Which of a plan's optimization profiles takes a call: those that its shapes fit in, and of these the nearest."""

from __future__ import annotations

import math
from collections.abc import Mapping

from compiler.errors import InputError
from compiler.records import Plan, Tensor

BATCH = "batch"

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def profile_for(plan: Plan, shapes: Shapes) -> int:
    """The number of the profile whose usual shapes are nearest to these, among those that allow them.

    Near is what differs by a small factor, over all dims.

    Args:
        shapes: of every input.

    Raises:
        InputError: an input is missing or unknown, has another number of dims, or a dim is outside every profile.
    """
    _check_inputs(plan, shapes)
    fitting = [number for number in range(len(plan.shapes)) if not _misfits(plan, number, shapes)]
    if fitting:
        return min(fitting, key=lambda number: _distance(plan, number, shapes))
    numbers = range(len(plan.shapes))
    nearest = min(numbers, key=lambda number: len(_misfits(plan, number, shapes)))
    names = list(_misfits(plan, nearest, shapes))
    raise InputError(
        f"no plan for {plan.target} takes inputs of this size",
        found=", ".join(f"{name} {_misfits(plan, nearest, shapes)[name]}" for name in names),
        expected="; or ".join(
            dict.fromkeys(", ".join(f"{name} {_range(plan, number, name)}" for name in names) for number in numbers)
        ),
        action="send less at a time, or build with shapes that allow for it",
    )


def most_rows(plan: Plan, shapes: Shapes) -> int:
    """The largest batch of the profiles that allow all other dims of these shapes; 0 where none does.

    Raises:
        InputError: an input is missing or unknown, or has another number of dims.
    """
    _check_inputs(plan, shapes)
    allowing = [number for number in range(len(plan.shapes)) if _misfits(plan, number, shapes).keys() <= {BATCH}]
    return max((_largest(plan, number) for number in allowing), default=0)


def _largest(plan: Plan, number: int) -> int:
    """The batch that a profile allows at most."""
    by_row = [tensor.name for tensor in plan.inputs if tensor.shape[:1] == (BATCH,)]
    return min((plan.shapes[number][name][2][0] for name in by_row), default=0)


def _check_inputs(plan: Plan, shapes: Shapes) -> None:
    ranks = {tensor.name: len(tensor.shape) for tensor in plan.inputs}
    if shapes.keys() != ranks.keys():
        raise InputError(
            f"the plan for {plan.target} has other inputs", found=", ".join(shapes), expected=", ".join(ranks)
        )
    for name, shape in shapes.items():
        if len(shape) != ranks[name]:
            raise InputError(f'input "{name}"', found=f"{len(shape)} dims: {shape}", expected=f"{ranks[name]} dims")


def _misfits(plan: Plan, number: int, shapes: Shapes) -> dict[str, int]:
    """Of the dims that this profile does not allow, name and size."""
    found = {}
    for tensor in plan.inputs:
        low, _, high = plan.shapes[number][tensor.name]
        for axis, size in enumerate(shapes[tensor.name]):
            if not low[axis] <= size <= high[axis]:
                found[_dim(tensor, axis)] = size
    return found


def _range(plan: Plan, number: int, name: str) -> str:
    """What a profile allows for the dim of this name."""
    for tensor in plan.inputs:
        for axis in range(len(tensor.shape)):
            if _dim(tensor, axis) == name:
                low, _, high = plan.shapes[number][tensor.name]
                return str(low[axis]) if low[axis] == high[axis] else f"{low[axis]} to {high[axis]}"
    raise KeyError(name)


def _dim(tensor: Tensor, axis: int) -> str:
    """A dim's name, or of one that has none its place."""
    dim = tensor.shape[axis]
    return dim if isinstance(dim, str) else f"dim {axis} of {tensor.name}"


def _distance(plan: Plan, number: int, shapes: Shapes) -> float:
    """The sum over all named dims of how many times larger or smaller they are than usual, as a logarithm."""
    factors = {}
    for tensor in plan.inputs:
        usual = plan.shapes[number][tensor.name][1]
        for axis, size in enumerate(shapes[tensor.name]):
            factors[_dim(tensor, axis)] = abs(math.log(max(size, 1) / max(usual[axis], 1)))
    return sum(factors.values())
