"""How many tokens a model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compiler.checkpoint.quiet import quiet
from compiler.errors import CheckpointError
from compiler.reading import read_json
from compiler.tasks import TASKS


def context_length(folder: Path, model: Any) -> int:
    """Most tokens the model takes: positions in its config, less those that padding reserves (RoBERTa, MPNet).

    A model whose positions are relative (XLNet, BLOOM, T5) has no such limit; its tokenizer's counts then, or else
    `UNLIMITED`.
    """
    stated = (getattr(model.config, name, None) for name in ("max_position_embeddings", "n_positions", "seq_length"))
    limit = next((found for found in stated if found and found > 0), None)
    if not limit:
        return _tokenizer_length(folder) or UNLIMITED
    return int(limit) - max((_reserved(name, module) for name, module in model.named_modules()), default=0)


def stated(folder: Path, task: str) -> int | None:
    """What `context_length` and `kept_length` allow, known from the configuration alone; None where it is not known."""
    import torch
    import transformers

    try:
        with quiet(), torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = getattr(transformers, TASKS[task].auto_class).from_config(config)
        kept = LONGEST if TASKS[task].kind == "encoder" else kept_length(config)
        return min(context_length(folder, model), kept)
    except Exception:  # noqa: BLE001 - what is wrong with these files is said where they are loaded
        return None


def kept_length(config: Any) -> int:
    """Most tokens for which keys that a decoder keeps stay those that it would compute anew; `LONGEST` without bound.

    Longrope turns every position by other frequencies once the text is longer than it was first trained with.
    """
    rope = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    every = [rope, *(each for each in rope.values() if isinstance(each, dict))]  # one for all layers, or for each type
    switches = [each["original_max_position_embeddings"] for each in every if each.get("rope_type") == "longrope"]
    return min(map(int, switches), default=LONGEST)


def _reserved(name: str, module: Any) -> int:
    """Rows of a table of positions that no token of a text ever gets: those up to padding's own."""
    padding = getattr(module, "padding_idx", None) if name.endswith("position_embeddings") else None
    return 0 if padding is None else int(padding) + 1


UNLIMITED = 2048  # tokens, where neither the model nor its tokenizer states a limit
LONGEST = 1 << 20  # a tokenizer without a limit states an astronomic one


def _tokenizer_length(folder: Path) -> int | None:
    path = folder / "tokenizer_config.json"
    length = read_json(path, dict[str, Any], CheckpointError).get("model_max_length") if path.exists() else None
    return int(length) if isinstance(length, int | float) and 1 <= length < LONGEST else None
