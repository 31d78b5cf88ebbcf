"""Check raw input tensors before the engine sees them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.errors import InputError, IntegrityError, did_you_mean
from compiler.reading import foreign
from compiler.records import Tensor


class FeedCheck:
    """Compares feeds with a model's inputs.

    Names, dtypes, ranks and fixed sizes must be these, and sizes equal where dim names are. Ids are numbers of rows in
    tables, so none is negative, and those of tokens are below `rows`, where that is known; a row of an attention mask
    has at least one token.
    """

    def __init__(self, inputs: tuple[Tensor, ...], rows: int = 0) -> None:
        self._rows = rows
        with foreign(IntegrityError, "the manifest's inputs have a type that there is not"):
            self._inputs = [(tensor.name, np.dtype(tensor.dtype), tensor.shape) for tensor in inputs]
        self._names = {tensor.name for tensor in inputs}

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same feeds as a dict.

        Raises:
            InputError: says which input, what was found and what was expected.
        """
        if not isinstance(feeds, Mapping):
            raise InputError("run() takes inputs by name", found=type(feeds).__name__, expected="a dict of arrays")
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
            if name.endswith("_ids"):
                self._require_rows(name, array)
            elif name.endswith("attention_mask"):
                _require_tokens(name, array)
        return dict(feeds)

    def _require_rows(self, name: str, ids: np.ndarray) -> None:
        if not ids.size:
            return
        least, most = int(ids.min()), int(ids.max())
        limit = self._rows if name.endswith("input_ids") else 0
        if least < 0 or (limit and most >= limit):
            raise InputError(
                f'input "{name}": no such token' if name.endswith("input_ids") else f'input "{name}": no such row',
                found=str(least if least < 0 else most),
                expected=f"0 to {limit - 1}: the model knows {limit} tokens" if limit else "0 or more",
            )

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


def _require_tokens(name: str, mask: np.ndarray) -> None:
    """Every row of the last axis marks something: nothing can be said about nothing."""
    empty = np.argwhere(~mask.astype(np.bool_).any(axis=-1))
    if len(empty):
        row = ", ".join(map(str, empty[0]))
        raise InputError(
            f'input "{name}": row {row} has no token',
            found="zeros only",
            expected="at least one 1 in every row",
            action="leave the row out",
        )


def _show(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
