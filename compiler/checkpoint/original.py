"""A checkpoint as its author's own library reads it: pickles unpickled by transformers, adapters by PEFT, unmerged.

What is built goes through the compiler's own conversions. The reference goes around them, so that a mistake in one
shows as a difference.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.checkpoint.adapter import FOLDER as ADAPTER
from compiler.checkpoint.adapter import VIRTUAL, WEIGHTS
from compiler.checkpoint.gguf_original import open_gguf
from compiler.checkpoint.load import load_model, origin
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.virtual import VirtualTokens
from compiler.checkpoint.weights import SAFETENSORS, shapes
from compiler.errors import CheckpointError
from compiler.tasks import TASKS

if TYPE_CHECKING:
    import torch


def open_original(folder: Path, task: str, dtype: str = "float32") -> torch.nn.Module:
    """The model in eval mode on the CPU, with the adapter that `folder` may hold beside its layers.

    Args:
        folder: config.json and weights, pickled or safetensors, or a GGUF file, or a folder with one; a folder
            `adapter` in it holds a PEFT adapter.
        task: a key of `tasks.TASKS`.
        dtype: "float32" or "float64".

    Raises:
        UsageError, CheckpointError: see `load_model`; or transformers or PEFT refuse these files.
    """
    import torch

    adapter = folder / ADAPTER
    pickled = not any((folder / name).exists() for name in (SAFETENSORS, f"{SAFETENSORS}.index.json"))
    gguf = folder if folder.is_file() else next(folder.glob("*.gguf"), None) if pickled else None
    if not pickled and not adapter.is_dir():
        return load_model(folder, task, dtype)
    try:
        with quiet():
            if gguf:
                model = open_gguf(gguf, _loader(task), getattr(torch, dtype))
            else:
                model = _base(folder, task, dtype, pickled=pickled)
            if adapter.is_dir():
                model = _beside(model, adapter)
    except Exception as error:  # transformers and PEFT raise whatever the files provoke
        raise CheckpointError(
            f"{origin(folder)}: the reference cannot be loaded",
            found=(str(error).strip() or type(error).__name__).splitlines()[0][:300],
        ) from error
    return model.to(getattr(torch, dtype)).eval()  # type: ignore[no-any-return]


def _loader(task: str) -> Any:
    import transformers

    return getattr(transformers, TASKS[task].auto_class)


def _base(folder: Path, task: str, dtype: str, *, pickled: bool) -> Any:
    import torch

    return _loader(task).from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=not pickled,
        weights_only=True,
        ignore_mismatched_sizes=True,  # of a head that the adapter brings
    )


def _beside(model: Any, folder: Path) -> Any:
    """The model with PEFT's layers in it, nothing merged."""
    import peft

    own = model.state_dict()
    rows = model.get_input_embeddings().weight.shape[0]
    for key, shape in shapes(folder / WEIGHTS).items():
        table = own.get(
            key.removeprefix("base_model.model.").replace(".token_adapter.", ".").replace(".base_layer.", ".")
        )
        if table is not None and table.shape[0] == rows < shape[0] and table.shape[1:] == shape[1:]:
            model.resize_token_embeddings(shape[0], mean_resizing=False)
            break
    tuned = peft.PeftModel.from_pretrained(model, folder, is_trainable=False)
    return VirtualTokens(tuned) if tuned.active_peft_config.peft_type in VIRTUAL else tuned.get_base_model()
