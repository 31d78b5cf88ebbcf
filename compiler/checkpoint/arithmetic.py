"""The same model in another arithmetic: in float64, in float32 with its sums in another order, or rounded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from compiler.checkpoint.rounded import Rounding

# What a reference computes in. "reordered" is float32 as well; its answers differ by rounding, and no meaning does.
Arithmetic = Literal["float32", "float64", "reordered"] | Rounding

PARTS = 3  # of the axis that a product adds up


def widen_arguments(model: Any) -> Callable[[], None]:
    """Make every module of a model take float32 arguments as float64: modeling code makes some, whatever it is in.

    Returns:
        what makes them take arguments as they are again. Models share modules without weights (activations), so it has
        to be called before another model runs.
    """
    import torch

    def widened(value: Any) -> Any:
        return value.double() if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value

    def widen(_: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(map(widened, inputs)), {name: widened(value) for name, value in named.items()}

    handles = [module.register_forward_pre_hook(widen, with_kwargs=True) for module in model.modules()]

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo


def reordered(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward` with every matrix product added up in parts, and attention taken apart into such products."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.overrides import TorchFunctionMode

    products = {
        torch.matmul, torch.bmm, torch.Tensor.matmul, torch.Tensor.bmm, torch.Tensor.__matmul__,
    }  # fmt: skip

    class InParts(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = kwargs or {}
            if func is torch.nn.functional.linear:
                return _linear(*args, **named)
            if func is torch.addmm and not named:
                return args[0] + _product(*args[1:])
            if func in products and not named and args[0].ndim > 1 and args[1].ndim > 1:
                return _product(*args)
            return func(*args, **named)

    @functools.wraps(forward)
    def run(*args: Any, **named: Any) -> Any:
        with InParts(), sdpa_kernel(SDPBackend.MATH):
            return forward(*args, **named)

    return run


def _linear(given: Any, weight: Any, bias: Any = None) -> Any:
    total = _product(given, weight.T)
    return total if bias is None else total + bias


def _product(left: Any, right: Any) -> Any:
    """left @ right, (..., rows, inner) and (..., inner, columns), the parts of `inner` from the last to the first."""
    size = -(-left.shape[-1] // PARTS) or 1
    starts = range(0, left.shape[-1], size)
    parts = [left[..., at : at + size] @ right[..., at : at + size, :] for at in starts]
    return sum(parts[-2::-1], parts[-1]) if parts else left @ right
