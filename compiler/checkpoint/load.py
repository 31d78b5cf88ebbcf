"""Open a vetted checkpoint with transformers: float weights in memory, every tensor finite."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.checkpoint.quiet import quiet
from compiler.errors import CheckpointError, UsageError
from compiler.tasks import TASKS

if TYPE_CHECKING:
    import torch


def load_model(folder: Path, task: str, dtype: str = "float32") -> torch.nn.Module:
    """The model in eval mode on the CPU.

    Args:
        folder: config.json and safetensors weights.
        task: a key of `tasks.TASKS`.
        dtype: "float32" or "float64".

    Raises:
        UsageError: the architecture has no head for this task.
        CheckpointError: weights are missing, do not fit, or are not finite.
    """
    import torch
    import transformers

    loader = getattr(transformers, TASKS[task].auto_class)
    try:
        with quiet():
            model, info = loader.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise CheckpointError(f"{folder}: the weights cannot be loaded", found=_first_line(error)) from error
        raise UsageError(
            f'{folder}: this model has no head for "{task}"',
            expected=", ".join(tasks_of(folder)),
            action="choose one of these with --task",
        ) from error
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: the weights cannot be loaded", found=_first_line(error)) from error

    # A pooler is not part of any graph we export; everything else missing would be random numbers.
    missing = sorted(name for name in info["missing_keys"] if "pooler." not in name)
    if missing:
        raise CheckpointError(
            f'{folder}: no trained weights for "{task}"',
            found=f"{len(missing)} tensors missing: {', '.join(missing[:3])}",
            action=f"choose another task with --task ({', '.join(tasks_of(folder))})",
        )
    for name, tensor in model.state_dict().items():
        if (
            tensor.is_floating_point()
            and not bool(torch.isfinite(tensor.sum()))
            and not bool(torch.isfinite(tensor).all())
        ):
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"{folder}: weights are not finite",
                found=f"{bad} NaN or Inf in {name} {tuple(tensor.shape)}",
                action="this checkpoint is damaged or its training diverged; use an earlier one",
            )
    return model.eval()  # type: ignore[no-any-return]


def load_tokenizer(folder: Path) -> Any:
    """The checkpoint's tokenizer (transformers). Raises CheckpointError."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizer loaders of transformers raise whatever their files provoke
        raise CheckpointError(f"{folder}: the tokenizer cannot be loaded", found=_first_line(error)) from error


def tasks_of(folder: Path) -> list[str]:
    """Tasks for which transformers has a class for this architecture."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return [name for name, row in TASKS.items() if type(config) in getattr(transformers, row.auto_class)._model_mapping]


def resave(folder: Path, out: Path) -> Path:
    """Write pickle weights as safetensors into `out`, once."""
    if (out / "model.safetensors").exists():
        return out
    import transformers

    from compiler.storage import staging

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    loader = getattr(transformers, (config.architectures or ["AutoModel"])[0])
    try:
        with quiet():
            model = loader.from_pretrained(folder, local_files_only=True, dtype="auto", use_safetensors=False)
    except Exception as error:  # unpickling raises whatever the file holds
        raise CheckpointError(f"{folder}: the pickle weights cannot be loaded", found=_first_line(error)) from error
    with quiet(), staging(out, "config.json") as stage:
        for path in folder.iterdir():
            if path.is_file() and path.suffix in {".json", ".txt", ".model", ".jinja"} and "index" not in path.name:
                shutil.copy2(path, stage / path.name)
        model.save_pretrained(stage, max_shard_size="1TB")
    return out


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
