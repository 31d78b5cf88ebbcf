"""A CrossEncoder: a classifier of pairs, and what is done with its logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from compiler.checkpoint.sentence.listing import LIST, modules, task_of
from compiler.checkpoint.sentence.settings import ABOUT, model_settings, require_plain
from compiler.errors import CheckpointError


def activation(folder: Path, config: dict[str, Any]) -> Literal["sigmoid", "none"] | None:
    """What becomes of a classifier's logits; None where nothing is declared.

    "Identity" for several labels is what the library writes where nobody chose, and counts as nothing.

    Args:
        config: config.json, where versions before 5.4 kept it.

    Raises:
        CheckpointError: it has modules, prompts or an activation that the runtime does not have; names it.
    """
    own = _before_5_4(config)
    labels = config.get("num_labels") or len(config.get("id2label") or range(2))  # in transformers' order
    if task_of(folder) == "text-classification":
        own = _of_modules(folder) or own or f"torch.nn.{'Sigmoid' if labels == 1 else 'Identity'}"
    if own is None:
        return None
    package, _, name = own.rpartition(".")
    if package.split(".")[0] != "torch" or name not in ("Sigmoid", "Identity"):
        raise CheckpointError(
            f"{folder}: this activation is not supported", found=own, expected="torch.nn: Sigmoid, Identity"
        )
    if name == "Identity":
        return "none" if labels == 1 else None
    return "sigmoid"


def _of_modules(folder: Path) -> str | None:
    kinds = [module.kind for module in modules(folder)]
    if kinds != ["Transformer"]:
        raise CheckpointError(
            f"{folder / LIST}: these modules are not supported", found=", ".join(kinds), expected="Transformer alone"
        )
    require_plain(folder, "sequence-classification", ("logits", "scores"))
    about = model_settings(folder)
    if prompt := about.prompts.get(about.default_prompt_name or ""):
        raise CheckpointError(f"{folder / ABOUT}: a prompt in front of pairs is not supported", found=repr(prompt))
    return about.activation_fn


def _before_5_4(config: dict[str, Any]) -> str | None:
    nested = config.get("sentence_transformers")
    found = nested.get("activation_fn") if isinstance(nested, dict) else None
    found = found or config.get("sbert_ce_default_activation_function")
    return found if isinstance(found, str) else None
