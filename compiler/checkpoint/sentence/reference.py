"""The same vectors in PyTorch, text by text and without padding: what the runtime's are compared with.

It reads the checkpoint's files by itself, so that a mistake in `encoder` is not made here too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    Step = Callable[[torch.Tensor], torch.Tensor]


class Pooler:
    """Makes a text's vector as the modules in `folder` do; the mean where there are none.

    Raises:
        CheckpointError: a module is of another kind than those that `encoder.pooling` lets pass.
    """

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._steps: list[Step] = [_mean]
        listing = folder / "modules.json"
        if not listing.exists():
            return
        entries = json.loads(listing.read_text(encoding="utf-8"))
        places = {entry["path"]: entry["type"].split(".")[-1] for entry in entries if entry["path"]}
        self._steps = [_step(folder / path, kind, dtype) for path, kind in places.items()]
        about = folder / "config_sentence_transformers.json"
        dims = json.loads(about.read_text(encoding="utf-8")).get("truncate_dim") if about.exists() else None
        if dims is not None:
            self._steps.append(lambda vector: vector[:dims])

    def __call__(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(batch, width) of token vectors (batch, sequence, hidden); mask (batch, sequence), not 0 for tokens."""
        import torch

        found = []
        with torch.inference_mode():
            for row, real in zip(states, mask, strict=True):
                value = torch.from_numpy(row[real != 0]).to(self._dtype)
                for step in self._steps:
                    value = step(value)
                found.append(value.numpy())
        return np.stack(found)


def _step(folder: Path, kind: str, dtype: torch.dtype) -> Step:
    from torch.nn import functional

    if kind == "Normalize":
        return lambda vector: functional.normalize(vector, dim=0)
    if kind == "Dropout":
        return lambda vector: vector
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if kind == "Pooling":
        return _pooling(config)
    return _weighted(folder, kind, config, dtype)


def _weighted(folder: Path, kind: str, config: dict[str, Any], dtype: torch.dtype) -> Step:
    import torch
    from safetensors.torch import load_file
    from torch import nn

    stored = folder / "model.safetensors"
    if stored.exists():
        weights = load_file(stored)
    else:
        weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    if kind == "LayerNorm":
        norm = nn.LayerNorm(config["dimension"])
        norm.load_state_dict({name.removeprefix("norm."): tensor for name, tensor in weights.items()})
        return norm.to(dtype)
    if kind != "Dense":
        raise CheckpointError(f"{folder}: no reference for the module {kind}")
    linear = nn.Linear(config["in_features"], config["out_features"], bias="linear.bias" in weights)
    named = {name.removeprefix("linear."): tensor for name, tensor in weights.items() if name.startswith("linear.")}
    linear.load_state_dict(named)
    name = config.get("activation_function", "torch.nn.Tanh").split(".")[-1]
    layer = nn.Sequential(linear, getattr(nn, name)()).to(dtype)
    if not config.get("use_residual"):
        return layer
    beside = weights.get("residual.weight")
    return lambda x: layer(x) + (x if beside is None else x @ beside.to(dtype).T)


def _pooling(config: dict[str, Any]) -> Step:
    import torch

    ways: dict[str, Step] = {
        "cls": lambda tokens: tokens[0],
        "max": lambda tokens: tokens.amax(dim=0),
        "mean": _mean,
        "mean_sqrt_len_tokens": lambda tokens: tokens.sum(dim=0) / len(tokens) ** 0.5,
        "weightedmean": _weighted_mean,
        "lasttoken": lambda tokens: tokens[-1],
    }
    asked = config.get("pooling_mode")
    if asked is None:
        asked = [way for way in ways if config.get(f"pooling_mode_{way}", config.get(f"pooling_mode_{way}_tokens"))]
        if config.get("pooling_mode_cls_token"):
            asked = ["cls", *asked]
    chosen = [ways[way] for way in ([asked] if isinstance(asked, str) else asked or ["mean"])]
    return lambda tokens: torch.cat([way(tokens) for way in chosen])


def _mean(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.mean(dim=0)


def _weighted_mean(tokens: torch.Tensor) -> torch.Tensor:
    """Every token weighs as much as its position, counted from 1."""
    import torch

    positions = torch.arange(1, len(tokens) + 1, dtype=tokens.dtype)
    return (positions @ tokens) / positions.sum()
