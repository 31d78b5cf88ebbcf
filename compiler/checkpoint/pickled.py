"""Pickled weights -> the same tensors under the same names as safetensors, written once per checkpoint.

Only tensors are unpickled (`weights_only`), and no model is made: what the model lacks or does not know is seen, and
refused, when the result is loaded.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from compiler.cache import seal
from compiler.checkpoint import sentence
from compiler.checkpoint.adapter import ORIGIN, TEMPLATES
from compiler.checkpoint.weights import PICKLE, SAFETENSORS, weight_files
from compiler.errors import CheckpointError
from compiler.storage import staging

CARRIED = frozenset({".json", ".txt", ".model", ".jinja"})


def convert(folder: Path, model: str, out: Path, still: Callable[[], None] = lambda: None) -> Path:
    """Write the checkpoint of `folder` into `out` with its weights as safetensors, unless it is there.

    `still` raises where the checkpoint has changed.

    Raises:
        CheckpointError: a pickle is damaged, or holds anything but tensors by name.
    """
    if (out / SAFETENSORS).exists():
        return out
    import torch
    from safetensors.torch import save_file

    found: dict[str, torch.Tensor] = {}
    for path in weight_files(folder, model, PICKLE):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except Exception as error:  # unpickling raises whatever the file holds
            raise CheckpointError(
                f"{path}: the pickle cannot be loaded",
                found=(str(error).strip() or type(error).__name__).splitlines()[0][:300],
                expected="tensors by name, and nothing else",
            ) from error
        if not isinstance(content, dict) or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in content.items()
        ):
            raise CheckpointError(
                f"{path}: not the weights of a model",
                found=", ".join(map(str, list(content)[:4])) if isinstance(content, dict) else type(content).__name__,
                expected="a state dict: tensors by name, and nothing else",
                action="save the model with save_pretrained",
            )
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
        # Tied tensors share their memory, which safetensors refuses.
        save_file({name: tensor.clone().contiguous() for name, tensor in found.items()}, stage / SAFETENSORS,
                  metadata={"format": "pt"})  # fmt: skip
        still()
        seal(stage)
    return out
