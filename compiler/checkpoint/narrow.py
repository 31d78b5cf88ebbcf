"""The same model with its products and sums in float16 or bfloat16, as a right engine in these formats computes.

Nothing of the passes is used. What such an engine leaves in float32 stays so here: norms, softmax, angles, and numbers
that the format cannot hold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

Format = Literal["float16", "bfloat16"]
FORMATS: tuple[Format, ...] = get_args(Format)


def narrowed(forward: Callable[..., Any], name: Format, shift: int = 0) -> Callable[..., Any]:
    """`forward`, of a model in float32, with the numbers of every product and sum rounded to a format.

    Args:
        forward: of the model.
        name: the format.
        shift: other ones than 0 give errors of the same size, and other ones.
    """
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._pytree import tree_map

    functional, tensor = torch.nn.functional, torch.Tensor
    products = {
        *(functional.linear, functional.scaled_dot_product_attention, torch.addmm),
        *(torch.matmul, torch.bmm, torch.baddbmm, tensor.matmul, tensor.bmm, tensor.__matmul__),
    }  # fmt: skip
    results = {functional.embedding, torch.add, tensor.add, tensor.__add__, tensor.__radd__}  # the rest is as narrow
    number = _Numbers(getattr(torch, name), shift)

    def small(value: Any) -> Any:
        return number(value) if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value

    class Narrow(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = kwargs or {}
            if func in results:
                return small(func(*args, **named))
            if func not in products or _outer(args):
                return func(*args, **named)
            return small(func(*tree_map(small, tuple(args)), **tree_map(small, named)))

    @functools.wraps(forward)
    def run(*args: Any, **named: Any) -> Any:
        with Narrow():
            return forward(*args, **named)

    return run


class _Numbers:
    """The nearest numbers of a format; those beyond its range stay."""

    def __init__(self, dtype: Any, shift: int) -> None:
        import torch

        self._dtype, self._factor = dtype, 1 + shift / 11
        self._largest = torch.finfo(dtype).max / self._factor

    def __call__(self, values: Any) -> Any:
        import torch

        nearest = (values * self._factor).to(self._dtype).float() / self._factor
        return torch.where(values.abs() <= self._largest, nearest, values)


def _outer(args: Any) -> bool:
    """Whether a product adds nothing up: positions times frequencies, whose angles stay float32."""
    return len(args) == 2 and getattr(args[0], "ndim", 0) > 1 and args[0].shape[-1] == 1
