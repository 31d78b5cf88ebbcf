"""Open a vetted checkpoint with transformers: float weights in memory, every tensor finite."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.checkpoint.adapter import WEIGHTS
from compiler.checkpoint.heads import tasks_of
from compiler.checkpoint.join import FOLDER as ADAPTER
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.weights import shapes
from compiler.errors import CheckpointError, UsageError
from compiler.tasks import TASKS

if TYPE_CHECKING:
    import torch

NO_TOKEN = -1
LABELLED = ("text-classification", "token-classification")


def load_model(folder: Path, task: str, dtype: str = "float32") -> torch.nn.Module:
    """The model in eval mode on the CPU, with the adapter that `folder` may hold in effect.

    Args:
        folder: config.json and safetensors weights; a folder `adapter` in it holds a PEFT adapter.
        task: a key of `tasks.TASKS`.
        dtype: "float32" or "float64".

    Raises:
        UsageError: the architecture has no head for this task.
        CheckpointError: weights are missing, do not fit, or are not finite.
    """
    import torch
    import transformers

    if task not in (offered := tasks_of(folder)):
        raise UsageError(
            f'{folder}: this model has no head for "{task}"',
            expected=", ".join(offered),
            action="choose one of these with --task",
        )
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
                ignore_mismatched_sizes=True,  # refused below, with the sizes
            )
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise CheckpointError(f"{folder}: the weights cannot be loaded", found=_first_line(error)) from error
    adapter = folder / ADAPTER
    given = shapes(adapter / WEIGHTS) if adapter.is_dir() else {}

    def trained(name: str) -> bool:
        """Whether the adapter brings these weights."""
        return any(key.endswith(f".{name}") for key in given)

    _require_sizes(folder, task, model, [each for each in info["mismatched_keys"] if not trained(each[0])])

    # Token vectors do without the pooler; everything else missing would be random numbers.
    spared = "pooler." if task == "feature-extraction" else None
    missing = sorted(name for name in info["missing_keys"] if not (spared and spared in name) and not trained(name))
    if missing:
        raise CheckpointError(
            f'{folder}: no trained weights for "{task}"',
            found=f"{len(missing)} tensors missing: {', '.join(missing[:3])}",
            action=f"choose another task with --task ({', '.join(name for name in offered if name != task)})",
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
    if given:
        from compiler.checkpoint.tuned import tuned

        model = tuned(model, adapter)
    return model.to(getattr(torch, dtype)).eval()  # type: ignore[no-any-return]


def _require_sizes(folder: Path, task: str, model: Any, mismatched: Any) -> None:
    """Refuse weights of other sizes than the configuration's, and label names that are not those of the head's rows.

    A head has as many rows as config.json has labels, so a wrong list of labels shows as a wrong head.
    """
    labels = model.config.id2label or {}
    for name, stored, wanted in sorted(mismatched):
        if wanted[0] == len(labels) != stored[0] and name.endswith((".weight", ".bias")):
            raise CheckpointError(
                f"{folder}: labels and head do not belong together",
                found=f"{len(labels)} labels in config.json (id2label), {stored[0]} rows in {name}",
                expected="one label a row",
                action="correct id2label in config.json",
            )
        raise CheckpointError(
            f"{folder}: weights and configuration do not belong together",
            found=f"{name} is {tuple(stored)}",
            expected=f"{tuple(wanted)}, as config.json says",
            action="use the config.json that was saved with the weights",
        )
    if task in LABELLED and sorted(labels) != list(range(len(labels))):
        raise CheckpointError(
            f"{folder}: label ids are not those of the head's rows",
            found=f"{sorted(labels)[:8]} in config.json (id2label)",
            expected=f"0 to {len(labels) - 1}",
            action="correct id2label in config.json",
        )


def allow_batches(model: Any) -> None:
    """Let a model without a padding token take several texts at once, which are then equally long.

    Decoders with a classifier find the last token of a text by its padding, and refuse batches when they know none.
    """
    config = model.config.get_text_config()
    if config.pad_token_id is None:
        config.pad_token_id = NO_TOKEN


def load_tokenizer(folder: Path) -> Any:
    """The checkpoint's tokenizer (transformers). Raises CheckpointError."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizer loaders of transformers raise whatever their files provoke
        raise CheckpointError(f"{folder}: the tokenizer cannot be loaded", found=_first_line(error)) from error


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
