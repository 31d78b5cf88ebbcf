"""The same model with its products rounded to few bits, as a right quantized engine may round them.

Nothing of the passes is used: plain rounding to the nearest, of a linear layer's weights and of what it reads, tells
how large the errors of such an engine are. Passes that choose better codes err less. Weights that lie on a grid of
their own already are rounded as others are: a format whose zero is a code cannot hold them exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compiler.checkpoint.narrow import FORMATS, Format, narrowed

# "rows": int8 weights, a scale for each output, times int8 activations, a scale for each token. "tensor": the same, one
# scale for all tokens; "static": one for all that is ever read; "wide": that with weights of 8 bits. "float8": static
# as well, E4M3 times E4M3. "int8" and "int4": weights in blocks, which engines multiply by activations of 8 bits in
# blocks; "mixed": half of them have 8 bits, the others 4. Of "weights-..." weights alone are rounded: to int8 with a
# scale for each output, to int4 around zero in blocks, or half of them to each. The others are those of `narrow`.
Method = (
    Literal["rows", "tensor", "static", "wide", "float8", "int8", "int4", "mixed"]
    | Literal["weights-int8", "weights-int4", "weights-mixed"]
    | Format
)

IN_BLOCKS = frozenset({"int8", "int4", "mixed"})
FIXED = frozenset({"static", "wide", "float8"})
ALONE = frozenset({"weights-int8", "weights-int4", "weights-mixed"})
MIXED = frozenset({"mixed", "weights-mixed"})
BLOCK, ALONE_BLOCK = 32, 64  # numbers along the axis that a product adds up
SMALLEST = 16  # a matrix with fewer rows or columns is left in float32
# Largest codes. Weights of 7 bits are what processors multiply by 8 without overflow that have no instruction for it.
BYTE, SEVEN, FOUR, AROUND_ZERO = 127, 63, 15, 7
E4M3 = 448  # the largest number of float8


@dataclass(frozen=True)
class Rounding:
    """How products are rounded. `fewer` codes, or coarser ones, give errors of the same size, and other ones."""

    method: Method
    fewer: int = 0

    @property
    def coarser(self) -> float:
        """What steps of 4 bits are multiplied by, whose codes are too few to do without some."""
        return 1 + self.fewer / 32


def rounded(forward: Callable[..., Any], rounding: Rounding, fine: Sequence[Any] = ()) -> Callable[..., Any]:
    """`forward` with every product of a weight rounded.

    Args:
        forward: of a model in float32.
        rounding: how.
        fine: weights that get 8 bits where others get 4, as `fine_weights` chooses them.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    if rounding.method in FORMATS:
        return narrowed(forward, rounding.method, rounding.fewer)
    products = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}
    eight = {id(each) for each in fine}
    in_blocks = rounding.method in IN_BLOCKS
    largest: dict[int, Any] = {}  # that each weight was multiplied by so far

    def is_weight(value: Any) -> bool:
        return isinstance(value, torch.nn.Parameter) and value.ndim == 2 and min(value.shape) >= SMALLEST

    def activation(given: Any, matrix: Any) -> Any:
        if rounding.method in ALONE:
            return given
        if rounding.method not in FIXED:
            return _activation(given, rounding)
        known = largest.get(id(matrix))
        extreme = given.abs().amax() if known is None else known.maximum(given.abs().amax())
        largest[id(matrix)] = extreme
        return _codes(given, extreme, BYTE, rounding)

    def weight(matrix: Any) -> Any:
        return _weight(matrix, rounding, id(matrix) in eight)

    def transposed(matrix: Any) -> Any:
        return _weight(matrix.T, rounding, id(matrix) in eight).T

    class Rounded(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = kwargs or {}
            if func is torch.nn.functional.linear and min(args[1].shape) >= SMALLEST:
                return func(activation(args[0], args[1]), weight(args[1]), *args[2:], **named)
            if func is torch.addmm and not named and is_weight(args[2]):
                return func(args[0], activation(args[1], args[2]), transposed(args[2]))
            if func in products and not named and is_weight(args[1]):
                return func(activation(args[0], args[1]), transposed(args[1]))
            found = func(*args, **named)
            return _blocks(found, BYTE) if in_blocks and func is torch.nn.functional.embedding else found

    @functools.wraps(forward)
    def run(*args: Any, **named: Any) -> Any:
        with Rounded():
            return forward(*args, **named)

    return run


def fine_weights(model: Any, method: Method) -> list[Any]:
    """The weights of a model that get 8 bits where others get 4: its head, and half of the rest where both are mixed.

    Those with the fewest outputs an input come first: they read what varies most.
    """
    found = model.get_output_embeddings()
    head = [] if found is None else [found.weight]
    if method not in MIXED:
        return head
    layers = [module for module in model.modules() if type(module).__name__ in {"Linear", "Conv1D"}]
    ratios = {id(each.weight): (_outputs_per_input(each), each.weight) for each in layers}
    body = [ratio for key, ratio in ratios.items() if key not in map(id, head)]
    left, fine = sum(weight.numel() for _, weight in body) / 2, head
    for _, weight in sorted(body, key=lambda each: each[0]):
        if weight.numel() <= left:
            left -= weight.numel()
            fine.append(weight)
    return fine


def _outputs_per_input(layer: Any) -> float:
    rows, columns = layer.weight.shape
    return float(columns / rows if type(layer).__name__ == "Conv1D" else rows / columns)


def _activation(given: Any, rounding: Rounding) -> Any:
    top = BYTE - rounding.fewer
    if rounding.method == "rows":
        return _nearest(given, given.abs().amax(-1, keepdim=True) / top)
    if rounding.method == "tensor":
        return _nearest(given, given.abs().amax() / top)
    return _blocks(given, top)


def _weight(weight: Any, rounding: Rounding, fine: bool) -> Any:
    """A weight (outputs, inputs)."""
    if rounding.method in ALONE and rounding.method != "weights-int8" and not fine:
        return _blocks(weight, AROUND_ZERO / rounding.coarser, ALONE_BLOCK)
    if rounding.method not in IN_BLOCKS:
        top = BYTE if rounding.method == "wide" or rounding.method in ALONE else SEVEN
        return _codes(weight, weight.abs().amax(-1, keepdim=True), top, rounding)
    if rounding.method == "int8" or fine:
        return _blocks(weight, BYTE - rounding.fewer)
    return _ranges(weight, FOUR, rounding.coarser)


def _codes(values: Any, extreme: Any, top: int, rounding: Rounding) -> Any:
    """Rounded to codes up to `top`, or to float8 numbers, the largest of which is for `extreme`."""
    import torch

    if rounding.method != "float8":
        return _nearest(values, extreme / (top - rounding.fewer))
    scale = extreme / (E4M3 - 16 * rounding.fewer)
    safe = scale + (scale == 0)
    return (values / safe).to(torch.float8_e4m3fn).float() * safe


def _blocks(values: Any, top: float, size: int = BLOCK) -> Any:
    """Rounded in blocks along the last axis, to codes from -top to top."""
    cut = _cut(values, size)
    return _joined(_nearest(cut, cut.abs().amax(-1, keepdim=True) / top), values)


def _ranges(values: Any, top: int, coarser: float) -> Any:
    """Rounded in blocks along the last axis, to codes 0 to top, one of which is zero: as far as the numbers reach."""
    cut = _cut(values)
    low, high = cut.amin(-1, keepdim=True).clamp(max=0), cut.amax(-1, keepdim=True).clamp(min=0)
    scale = (high - low) / top * coarser
    safe = scale + (scale == 0)
    least = (low / safe).round()
    return _joined((cut / safe).round().clamp(least, least + top) * safe, values)


def _nearest(values: Any, scale: Any) -> Any:
    """The nearest multiples of a scale, which is 0 where all values are."""
    safe = scale + (scale == 0)
    return (values / safe).round() * safe


def _cut(values: Any, size: int = BLOCK) -> Any:
    import torch

    padded = torch.nn.functional.pad(values, (0, -values.shape[-1] % size))
    return padded.reshape(*values.shape[:-1], -1, size)


def _joined(blocks: Any, like: Any) -> Any:
    return blocks.flatten(-2)[..., : like.shape[-1]]
