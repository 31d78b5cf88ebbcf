"""Modules whose weights are pickles, such as those of distiluse, as safetensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from compiler.cache import intact, key, seal
from compiler.checkpoint.sentence.encoder import WEIGHTS
from compiler.checkpoint.sentence.listing import copy_folders, modules
from compiler.checkpoint.unpickle import tensors, write
from compiler.errors import CheckpointError
from compiler.storage import staging

PICKLE = "pytorch_model.bin"


def unpickled(folder: Path, digest: str, allow_pickle: bool, cache: Path, still: Callable[[], None]) -> Path:
    """A folder with the same files in which every module's weights are safetensors; `folder`, if they are already.

    Args:
        digest: the checkpoint's.
        still: raises where the checkpoint has changed.
        allow_pickle: what reading a pickle takes, although only tensors are read from it.

    Raises:
        CheckpointError: a module's pickle is not allowed, or holds something else than tensors.
    """
    pickled = [
        module.folder.relative_to(folder)
        for module in modules(folder)
        if (module.kind != "Transformer")
        and (module.folder / PICKLE).exists()
        and not (module.folder / WEIGHTS).exists()
    ]
    if not pickled:
        return folder
    if not allow_pickle:
        raise CheckpointError(
            f"{folder}: only pickle weights",
            found=", ".join(f"{path}/{PICKLE}" for path in pickled),
            expected="safetensors; reading a pickle can run code hidden in it",
            action="save the model again with sentence-transformers, or pass --allow-pickle if you trust its author",
        )
    out = cache / "checkpoint" / key(digest, str(folder), "modules", code=[__name__])
    if intact(out):
        return out
    copied = {module.folder.relative_to(folder).parts[0] for module in modules(folder) if module.kind != "Transformer"}
    with staging(out, "config.json") as stage:
        for path in folder.iterdir():
            if path.name not in copied:
                os.symlink(path.absolute(), stage / path.name)
        copy_folders(folder, stage)
        for inside in pickled:
            write(tensors(folder / inside / PICKLE), stage / inside / WEIGHTS)
            (stage / inside / PICKLE).unlink()
        still()
        seal(stage)
    return out
