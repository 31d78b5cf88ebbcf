"""Pickled weights -> the same tensors under the same names as safetensors, written once per checkpoint.

Only tensors are unpickled (`weights_only`), and no model is made: what the model lacks or does not know is seen, and
refused, when the result is loaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.cache import seal
from compiler.checkpoint import sentence
from compiler.checkpoint.adapter import ORIGIN, TEMPLATES
from compiler.checkpoint.unpickle import tensors, write
from compiler.checkpoint.weights import PICKLE, SAFETENSORS, weight_files
from compiler.errors import CheckpointError
from compiler.storage import staging

if TYPE_CHECKING:
    import torch

CARRIED = frozenset({".json", ".txt", ".model", ".jinja"})


def convert(folder: Path, model: str, out: Path, still: Callable[[], None] = lambda: None) -> Path:
    """Write the checkpoint of `folder` into `out` with its weights as safetensors, unless it is there.

    `still` raises where the checkpoint has changed.

    Raises:
        CheckpointError: a pickle is damaged, or holds anything but tensors by name.
    """
    if (out / SAFETENSORS).exists():
        return out
    found: dict[str, torch.Tensor] = {}
    for path in weight_files(folder, model, PICKLE):
        content = tensors(path)
        if twice := found.keys() & content.keys():
            raise CheckpointError(f"{model}: a tensor in two files", found=f"{min(twice)}, again in {path.name}")
        found |= content
    with staging(out, "config.json") as stage:
        for path in folder.iterdir():
            if path.is_file() and path.suffix in CARRIED and "index" not in path.name:
                shutil.copy2(path, stage / path.name)
        if (folder / TEMPLATES).is_dir():
            shutil.copytree(folder / TEMPLATES, stage / TEMPLATES)
        sentence.copy_folders(folder, stage)
        (stage / ORIGIN).write_text(model, encoding="utf-8")
        write(found, stage / SAFETENSORS)
        still()
        seal(stage)
    return out
