"""One vector a text: an encoder's token vectors pooled, then through the checkpoint's modules, all in float32.

Formulas and their order are those of sentence-transformers 6.2 (its modules Pooling, Dense, LayerNorm and Normalize).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compiler.errors import IntegrityError
from compiler.reading import read_bytes
from compiler.records import Activation, Dense, LayerNorm, Module, Normalize, Pooling, PoolingMode, Truncate

FILE = "modules.f32"  # in an exported model and a bundle, where modules have weights
_SMALLEST_NORM = 1e-12  # torch.nn.functional.normalize
_EPSILON = 1e-5  # torch.nn.LayerNorm
WIDEST = 1 << 20  # numbers of a vector
_LARGEST = 1 << 30  # bytes of weights

_erf = np.vectorize(math.erf, otypes=[np.float32])  # numpy has none of its own


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


ACTIVATIONS: dict[Activation, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "GELU": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "SiLU": lambda x: x * _sigmoid(x),
    "Sigmoid": _sigmoid,
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


class Vectors:
    """Makes vectors of token vectors as `pooling` says.

    Args:
        pooling: None is the mean, as it is.
        folder: where the modules' file lies, if they have weights.
        hidden: width of a token's vector.

    Attributes:
        width: of a text's vector.

    Raises:
        IntegrityError: the modules do not fit one after the other, or the file does not fit them.
    """

    def __init__(self, pooling: Pooling | None, folder: Path, hidden: int) -> None:
        self.pooling = pooling or Pooling()
        self.width = width(self.pooling, hidden)
        self._modules = _with_weights(self.pooling, folder)

    def __call__(
        self, states: np.ndarray, mask: np.ndarray, *, prompt: int = 0, normalize: bool | None = None
    ) -> np.ndarray:
        """One vector a text, (batch, width) float32.

        Args:
            states: (batch, sequence, hidden).
            mask: (batch, sequence) bool, true for tokens: at least one in a row, padding on either side of them.
            prompt: so many tokens of every row, its first, are the prompt's.
            normalize: to length 1 or not; None does what the checkpoint says.
        """
        found = pool(states, mask, self.pooling.modes, 0 if self.pooling.include_prompt else prompt)
        last = _last(self.pooling.modules)
        for index, (module, weights) in enumerate(self._modules):
            if index != last or normalize is not False:
                found = _apply(module, weights, found)
        return _unit(found) if normalize else found


def pool(states: np.ndarray, mask: np.ndarray, modes: tuple[PoolingMode, ...], prompt: int = 0) -> np.ndarray:
    """The vectors of all modes side by side, (batch, modes * hidden) float32; a row without tokens gives zeros.

    `states` (batch, sequence, hidden); `mask` (batch, sequence) bool, of which each row's first `prompt` do not count.
    """
    numbers = mask.cumsum(axis=1)  # of tokens, from 1 on
    counted = mask & (numbers > prompt)
    parts = [_pooled(states, counted, numbers, mode) for mode in modes]
    return np.concatenate(parts, axis=1).astype(np.float32, copy=False)


def _pooled(states: np.ndarray, counted: np.ndarray, numbers: np.ndarray, mode: PoolingMode) -> np.ndarray:
    rows, some = np.arange(len(states)), counted.any(axis=1, keepdims=True)
    if mode == "max":
        return np.where(some, np.where(counted[..., None], states, -np.inf).max(axis=1), 0)
    if mode in ("cls", "lasttoken"):
        last = counted.shape[1] - 1 - counted[:, ::-1].argmax(axis=1)
        return np.where(some, states[rows, counted.argmax(axis=1) if mode == "cls" else last], 0)
    share = counted * numbers if mode == "weightedmean" else counted
    total = np.maximum(share.sum(axis=1, keepdims=True), 1)
    weights = share / (np.sqrt(total) if mode == "mean_sqrt_len_tokens" else total)
    return np.asarray(np.matmul(weights[:, None, :].astype(np.float32), states)[:, 0])


def _apply(module: Module, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """What a module makes of vectors (batch, width) float32."""
    if isinstance(module, Dense):
        y = x @ weights["linear.weight"].T
        if module.bias:
            y = y + weights["linear.bias"]
        y = ACTIVATIONS[module.activation](y)
        if module.residual:
            y = y + (x @ weights["residual.weight"].T if "residual.weight" in weights else x)
        return np.asarray(y)
    if isinstance(module, LayerNorm):
        centred = x - x.mean(axis=1, keepdims=True)
        variance = (centred**2).mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt(variance + np.float32(_EPSILON))
        return np.asarray(scaled * weights["norm.weight"] + weights["norm.bias"])
    return x[:, : module.width] if isinstance(module, Truncate) else _unit(x)


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(_SMALLEST_NORM)))


def _last(modules: tuple[Module, ...]) -> int | None:
    """The normalization that a caller can do without: the last module, but for a truncation."""
    shaping = [index for index, module in enumerate(modules) if not isinstance(module, Truncate)]
    return shaping[-1] if shaping and isinstance(modules[shaping[-1]], Normalize) else None


def width(pooling: Pooling, hidden: int) -> int:
    """Of a text's vector, where a token's has the width `hidden`. Raises IntegrityError: the modules do not fit."""
    found = hidden * len(pooling.modes)
    for module in pooling.modules:
        taken = module.inputs if isinstance(module, Dense) else module.width if isinstance(module, LayerNorm) else found
        if taken != found:
            raise IntegrityError(f"{module} does not fit", found=f"a vector of {found}", expected=f"one of {taken}")
        if isinstance(module, Dense):
            found = module.outputs
        elif isinstance(module, Truncate):
            found = min(found, module.width)
    if not 1 <= found <= WIDEST:
        raise IntegrityError("the modules leave no vector", found=f"width {found}", expected=f"1 to {WIDEST}")
    return found


def _with_weights(pooling: Pooling, folder: Path) -> list[tuple[Module, dict[str, np.ndarray]]]:
    shapes = pooling.shapes
    content = read_bytes(folder / FILE, IntegrityError, largest=_LARGEST) if shapes else b""
    sizes = [math.prod(shape) for shape in shapes]
    if min((min(shape) for shape in shapes), default=1) < 1 or len(content) != 4 * sum(sizes):
        raise IntegrityError(
            f"{folder / FILE}: not the modules' weights",
            found=f"{len(content)} bytes",
            expected=f"{4 * sum(sizes)} bytes, for {shapes}",
            action="build it again",
        )
    flat = np.frombuffer(content, "<f4").astype(np.float32, copy=False)
    parts = iter(np.split(flat, np.cumsum(sizes)[:-1]) if sizes else ())
    return [
        (module, {name: next(parts).reshape(shape) for name, shape in module.shapes.items()})
        for module in pooling.modules
    ]
