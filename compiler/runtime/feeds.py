"""Check raw input tensors before the engine sees them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.errors import InputError, did_you_mean
from compiler.records import Tensor


class FeedCheck:
    """Compares feeds with a model's inputs: names, dtypes, ranks, fixed sizes, and equal sizes for equal dim names."""

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = [(tensor.name, np.dtype(tensor.dtype), tensor.shape) for tensor in inputs]
        self._names = {tensor.name for tensor in inputs}

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same feeds as a dict.

        Raises:
            InputError: says which input, what was found and what was expected.
        """
        if feeds.keys() != self._names:
            self._explain_names(feeds)
        sizes: dict[str, tuple[int, str]] = {}
        for name, dtype, shape in self._inputs:
            array = feeds[name]
            if not isinstance(array, np.ndarray):
                raise InputError(f'input "{name}"', found=type(array).__name__, expected=f"a numpy array of {dtype}")
            if array.dtype != dtype:
                raise InputError(
                    f'input "{name}": wrong dtype',
                    found=str(array.dtype),
                    expected=str(dtype),
                    action=f"convert it: array.astype({dtype.name!r})",
                )
            found = array.shape
            if len(found) != len(shape):
                raise InputError(f'input "{name}": wrong rank', found=str(found), expected=_show(shape))
            for axis, dim in enumerate(shape):
                size = found[axis]
                if isinstance(dim, int):
                    if size != dim:
                        raise InputError(f'input "{name}": wrong shape', found=str(found), expected=_show(shape))
                elif sizes.setdefault(dim, (size, name))[0] != size:
                    first, other = sizes[dim]
                    raise InputError(
                        f'inputs "{other}" and "{name}" disagree about "{dim}"',
                        found=f"{first} and {size}",
                        expected=f"one size; {name} is {_show(shape)}",
                    )
        return dict(feeds)

    def _explain_names(self, feeds: Mapping[str, np.ndarray]) -> None:
        known = [name for name, _, _ in self._inputs]
        unknown = [str(name) for name in feeds if name not in self._names]
        missing = [name for name in known if name not in feeds]
        raise InputError(
            f"unknown input {', '.join(unknown)}" if unknown else f"missing input {', '.join(missing)}",
            found=", ".join(map(str, feeds)) or "no inputs",
            expected=", ".join(known),
            action=did_you_mean(unknown[0], missing or known) if unknown else "",
        )


def _show(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
