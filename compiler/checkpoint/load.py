"""Open a vetted checkpoint with transformers: float weights in memory, every tensor finite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.checkpoint.adapter import FOLDER as ADAPTER
from compiler.checkpoint.adapter import ORIGIN, WEIGHTS
from compiler.checkpoint.fit import another, require_fit
from compiler.checkpoint.heads import has_head, tasks_of
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.weights import shapes
from compiler.errors import CheckpointError, UsageError
from compiler.reading import foreign, read_json
from compiler.tasks import TASKS

if TYPE_CHECKING:
    import torch

NO_TOKEN = -1


def load_model(folder: Path, task: str, dtype: str = "float32", *, unread: list[str] | None = None) -> torch.nn.Module:
    """The model in eval mode on the CPU, with the adapter that `folder` may hold in effect.

    Args:
        folder: config.json and safetensors weights; a folder `adapter` in it holds a PEFT adapter.
        task: a key of `tasks.TASKS`.
        dtype: "float32" or "float64".
        unread: is given the names of tensors that the model has no place for, and does not need.

    Raises:
        UsageError: the architecture has no head for this task.
        CheckpointError: weights are missing, do not fit, or are not finite.
    """
    import torch
    import transformers

    shown = origin(folder)
    if not has_head(folder, task):
        offered = tasks_of(folder)
        raise UsageError(
            f'{shown}: this model has no head for "{task}"',
            expected=", ".join(offered),
            action=another(folder, shown, offered),
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
    except Exception as error:  # transformers raises whatever the files provoke
        raise CheckpointError(f"{shown}: the weights cannot be loaded", found=_first_line(error)) from error
    adapter = folder / ADAPTER
    given = shapes(adapter / WEIGHTS) if adapter.is_dir() else {}
    needless = require_fit(model, info, task, folder, adapter=given, shown=shown)
    if unread is not None:
        unread += needless
    for name, tensor in model.state_dict().items():
        if (
            tensor.is_floating_point()
            and not bool(torch.isfinite(tensor.sum()))
            and not bool(torch.isfinite(tensor).all())
        ):
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"{shown}: weights are not finite",
                found=f"{bad} NaN or Inf in {name} {tuple(tensor.shape)}",
                action="this checkpoint is damaged or its training diverged; use an earlier one",
            )
    if given:
        from compiler.checkpoint.tuned import tuned

        model = tuned(model, adapter)
    return model.to(getattr(torch, dtype)).eval()  # type: ignore[no-any-return]


def allow_batches(model: Any) -> None:
    """Let a model without a padding token take several texts at once, which are then equally long.

    Decoders with a classifier find the last token of a text by its padding, and refuse batches when they know none.
    """
    config = model.config.get_text_config()
    if config.pad_token_id is None:
        config.pad_token_id = NO_TOKEN


def load_tokenizer(folder: Path) -> Any:
    """The checkpoint's tokenizer (transformers).

    Raises:
        CheckpointError: it cannot be loaded, or is said to lie in another folder.
    """
    from transformers import AutoTokenizer

    _require_own_tokenizer(folder)
    with foreign(CheckpointError, f"{folder}: the tokenizer cannot be loaded"), quiet():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _require_own_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer for some versions of transformers that lies where no digest of the checkpoint covers it."""
    path = folder / "tokenizer_config.json"
    versions = read_json(path, dict[str, Any], CheckpointError).get("fast_tokenizer_files") if path.exists() else None
    for name in versions if isinstance(versions, list) else [versions] if versions else []:
        plain = isinstance(name, str) and name == Path(name).name and not name.startswith(".")
        if not plain or not (folder / name).is_file():
            raise CheckpointError(
                f'{origin(folder)}: "fast_tokenizer_files" of tokenizer_config.json names a file that is not here',
                found=repr(name)[:80],
                expected="names of files of this checkpoint",
                action="remove the entry if tokenizer.json is what the model was trained with",
            )


def origin(folder: Path) -> str:
    """A checkpoint, or the adapter in it, as its user knows it: no folder of the cache."""
    for path in (folder / ADAPTER / ORIGIN, folder / ORIGIN):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return str(folder)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
