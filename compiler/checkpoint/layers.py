"""The layers of a model in PyTorch: which there are, and what each gives while the model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

Sink = Callable[[str, np.ndarray], None]


def layers_of(model: Any, prefix: str = "") -> Iterator[str]:
    """Module paths that cut a model into pieces: its repeated blocks, and whatever stands before and behind them."""
    from torch.nn import ModuleList

    for name, child in model.named_children():
        path = prefix + name
        if isinstance(child, ModuleList):
            yield from (f"{path}.{index}" for index in range(len(child)))
        elif any(isinstance(inner, ModuleList) for inner in child.modules()):
            yield from layers_of(child, f"{path}.")
        else:
            yield path


def modules_inside(model: Any, layer: str) -> Iterator[str]:
    """Paths of all modules below `layer`."""
    yield from (f"{layer}.{name}" for name, _ in model.get_submodule(layer).named_modules() if name)


@contextmanager
def watching(model: Any, modules: Sequence[str], sink: Sink) -> Iterator[None]:
    """While this is open, `sink` is given the path and the output of each of `modules` whenever one has run."""

    def hook(path: str) -> Callable[[Any, Any, Any], None]:
        def give(_module: Any, _inputs: Any, output: Any) -> None:
            if (tensor := _first_tensor(output)) is not None:
                sink(path, tensor.detach().numpy())

        return give

    handles = [model.get_submodule(path).register_forward_hook(hook(path)) for path in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first_tensor(output: Any) -> Any:
    """What a module's callers use: the tensor itself, or the first of several results."""
    import torch

    if isinstance(output, dict):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        output = output[0] if output else None
    return output if isinstance(output, torch.Tensor) and output.is_floating_point() else None
