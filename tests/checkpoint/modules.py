"""Writes the files of sentence-transformers: the list of modules, their settings and weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.sentence import HIDDEN

MEAN = {"embedding_dimension": HIDDEN, "pooling_mode": "mean", "include_prompt": True}
DENSE = {"in_features": HIDDEN, "out_features": 4, "bias": True, "activation_function": "torch.nn.Tanh"}
PLAIN = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}

Written = tuple[str, dict[str, Any]]


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def chain(folder: Path, *modules: Written, package: str = "sentence_transformers.models") -> None:
    """modules.json and each module's config.json; Dense and LayerNorm get weights that fit."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"}]
    for index, (kind, config) in enumerate(modules, start=1):
        place = folder / f"{index}_{kind}"
        place.mkdir(parents=True)
        listed.append({"idx": index, "name": str(index), "path": place.name, "type": f"{package}.{kind}"})
        if config:
            put(place / "config.json", config)
        if kind == "Dense":
            layer = torch.nn.Linear(config["in_features"], config["out_features"], config.get("bias", True))
            save_file(
                {f"linear.{name}": each for name, each in layer.state_dict().items()}, place / "model.safetensors"
            )
        if kind == "LayerNorm":
            width = config["dimension"]
            weights = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
            save_file(weights, place / "model.safetensors")
    put(folder / "modules.json", listed)


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def copy(base: Path, folder: Path, *modules: Written) -> Path:
    shutil.copytree(base, folder)
    chain(folder, *modules)
    return folder
