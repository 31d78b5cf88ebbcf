"""What a checkpoint declares about text length and pooling (sentence-transformers' files and the model's config)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from compiler.errors import CheckpointError
from compiler.records import Pooling

MODES: dict[str, Literal["mean", "cls", "last"]] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


def pooling(folder: Path) -> Pooling:
    """How the checkpoint makes one vector of a text; the mean, not normalized, when it declares nothing.

    Raises:
        CheckpointError: it declares a pooling that the runtime does not have.
    """
    if not (folder / "modules.json").exists():
        return Pooling(mode="mean", normalize=False)
    modules = json.loads((folder / "modules.json").read_bytes())
    kinds = {module["type"].rsplit(".", 1)[-1]: folder / module["path"] for module in modules}
    mode: Literal["mean", "cls", "last"] = "mean"
    if "Pooling" in kinds and (kinds["Pooling"] / "config.json").exists():
        declared = json.loads((kinds["Pooling"] / "config.json").read_bytes())
        flags = [name for name, on in declared.items() if name.startswith("pooling_mode_") and on is True]
        if len(flags) != 1 or flags[0] not in MODES:
            raise CheckpointError(
                f"{kinds['Pooling']}: this pooling is not supported",
                found=", ".join(flags) or "none",
                expected=" or ".join(MODES),
            )
        mode = MODES[flags[0]]
    return Pooling(mode=mode, normalize="Normalize" in kinds, max_length=_declared_length(folder))


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


def _reserved(name: str, module: Any) -> int:
    """Rows of a table of positions that no token of a text ever gets: those up to padding's own."""
    padding = getattr(module, "padding_idx", None) if name.endswith("position_embeddings") else None
    return 0 if padding is None else int(padding) + 1


UNLIMITED = 2048  # tokens, where neither the model nor its tokenizer states a limit
LONGEST = 1 << 20  # a tokenizer without a limit states an astronomic one


def _declared_length(folder: Path) -> int | None:
    path = folder / "sentence_bert_config.json"
    return json.loads(path.read_bytes()).get("max_seq_length") if path.exists() else None


def _tokenizer_length(folder: Path) -> int | None:
    path = folder / "tokenizer_config.json"
    length = json.loads(path.read_bytes()).get("model_max_length") if path.exists() else None
    return int(length) if length and length < LONGEST else None
