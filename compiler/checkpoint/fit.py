"""Every tensor of the weights has a place in the model, and every parameter a tensor; what has none is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compiler.checkpoint.heads import served, tasks_of
from compiler.checkpoint.weights import Stored, stored, weight_files
from compiler.errors import CheckpointError

ROUNDED, TINY = 0.02, 1e-7  # of frequencies that were stored in 16 bits, relative and absolute
COMPUTED = ("position_ids", "masked_bias", "inv_freq", "num_batches_tracked")  # that older versions stored
LABELLED = ("text-classification", "token-classification")


def require_fit(
    model: Any,
    info: Mapping[str, Any],
    task: str,
    folder: Path,
    *,
    adapter: Iterable[str],
    shown: str,
) -> list[str]:
    """Names of tensors without a place in the model, which it does not need; other such weights are refused.

    Args:
        model: as transformers loaded it for the task, which left out what did not fit.
        info: transformers' loading info: missing, unexpected and mismatched keys.
        folder: where the weights lie.
        adapter: names of the tensors that an adapter brings.
        shown: the checkpoint as its user knows it.

    Raises:
        CheckpointError: a parameter would be random, or a tensor that changes answers would be left out.
    """

    def trained(name: str) -> bool:
        """Whether the adapter brings these weights."""
        return any(key.endswith(f".{name}") for key in adapter)

    _require_sizes(shown, task, model, [each for each in info["mismatched_keys"] if not trained(each[0])])

    # Token vectors do without the pooler; everything else missing would be random numbers.
    spared = "pooler." if task == "feature-extraction" else None
    missing = sorted(name for name in info["missing_keys"] if not (spared and spared in name) and not trained(name))
    unexpected = sorted(info["unexpected_keys"])
    if missing:
        advice = another(folder, shown, [other for other in tasks_of(folder) if other != task])
        raise _incomplete(model, shown, task=task, missing=missing, unexpected=unexpected, advice=advice)
    header = {name: each for path in weight_files(folder, shown) for name, each in stored(path).items()}
    if lost := [name for name in unexpected if _has_meaning(name, model, header)]:
        raise CheckpointError(
            f"{shown}: weights that the model has no place for",
            found=f"{len(lost)} tensors: {', '.join(lost[:3])}",
            expected=f"those of {type(model).__name__} as config.json describes it",
            action="use the config.json that was saved with the weights; merge adapters, and undo quantization, first",
        )
    found = sorted({*unexpected, *_passed_over(model, header)})
    _require_frequencies(model, folder, [name for name in found if name.endswith("inv_freq")], shown)
    return found


def another(folder: Path, shown: str, tasks: Sequence[str]) -> str:
    """Which of these tasks to choose instead: those that the weights are for, where there are any."""
    try:
        names = [name for path in weight_files(folder, shown) for name in stored(path)]
    except CheckpointError:  # the task is the mistake to name
        names = []
    if not (there := served(folder, names, tasks)):
        return f"choose another task with --task ({', '.join(tasks)})"
    lacking = ", ".join(task for task in tasks if task not in there)
    return f"choose another task with --task: {', '.join(there)}" + (f" (no weights for {lacking})" if lacking else "")


def _passed_over(model: Any, header: Iterable[str]) -> Iterator[str]:
    """Tensors that transformers leaves unread without telling: buffers that it computes, and names of a class' list."""
    ignored = re.compile("|".join(model._keys_to_ignore_on_load_unexpected or ["(?!)"]))
    backbone, own = f"{model.base_model_prefix}.", set(model.state_dict())
    computed = {name for name, _ in model.named_buffers()} - own
    for name in header:
        called = {name, name.removeprefix(backbone), backbone + name}
        needless = ignored.search(name) or name.rpartition(".")[2] in COMPUTED or called & computed
        if needless and not called & own:
            yield name


def _require_frequencies(model: Any, folder: Path, names: Sequence[str], shown: str) -> None:
    """Refuse stored rotary frequencies that are not those of the configuration, scaled or not: nothing reads them."""
    import torch
    from safetensors import safe_open

    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    for path in weight_files(folder, shown) if names else ():
        with safe_open(path, framework="pt") as file:
            for name in sorted({*names} & {*file.keys()}):
                tensor = file.get_tensor(name).float().flatten()
                known = [each.float() for buffer, each in model.named_buffers() if buffer.endswith("inv_freq")]
                steps = torch.arange(len(tensor)) / max(1, len(tensor))
                known += [
                    each["rope_theta"] ** -steps
                    for each in (rope, *rope.values())
                    if isinstance(each, dict) and each.get("rope_theta")
                ]
                if known and not any(
                    each.shape == tensor.shape and torch.allclose(each, tensor, rtol=ROUNDED, atol=TINY)
                    for each in known
                ):
                    raise CheckpointError(
                        f"{shown}: stored rotary frequencies are not those that config.json describes",
                        found=f"{name} ends with {tensor[-1:].tolist()}",
                        expected=f"{known[0][-1:].tolist()}",
                        action="correct rope_theta or rope_scaling in config.json",
                    )


def _incomplete(
    model: Any, shown: str, *, task: str, missing: list[str], unexpected: list[str], advice: str
) -> CheckpointError:
    found = f"{len(missing)} tensors missing: {', '.join(missing[:3])}"
    if unexpected:
        found += f"; {len(unexpected)} that it does not know: {', '.join(unexpected[:3])}"
    modules = {name for name, _ in model.named_modules()}
    if all(f"{name.partition('decoder.')[0]}encoder" in modules and "decoder." in name for name in missing):
        return CheckpointError(
            f"{shown}: the encoder of an encoder-decoder alone is not supported",
            found=f"{', '.join(model.config.architectures or [])}; {found}",
            expected="encoder and decoder, for text2text-generation, or an encoder such as BERT",
            action="use the whole model that it was taken from",
        )
    whole = {name.rpartition(".")[0] for name in unexpected} & modules
    shifted = any(name.endswith(f".{key}") for name in unexpected for key in missing[:3])
    return CheckpointError(
        f'{shown}: no trained weights for "{task}"',
        found=found,
        action="save the model itself with save_pretrained: its names have other beginnings than transformers'"
        if shifted and not whole
        else advice,
    )


def _has_meaning(name: str, model: Any, header: Mapping[str, Stored]) -> bool:
    """Whether a tensor without a place changes what the model would have answered.

    Heads for other tasks and poolers do not: they are modules of their own, which this model does without. Neither do
    masks and positions that older versions stored. What belongs to a module that the model has, does: a bias where
    there is none, matrices of an adapter, scales of quantized weights, layers beyond the configuration's.
    """
    modules = {path for path, _ in model.named_modules()}
    backbone = model.base_model_prefix
    alone = bool(backbone) and backbone not in modules  # the model is the backbone itself
    name_here = name.removeprefix(f"{backbone}.") if alone else name
    parent, _, last = name_here.rpartition(".")
    entry = header.get(name)
    if last in COMPUTED:
        return False
    if entry and last == "bias" and len(entry.shape) == 4 and entry.shape[:2] == (1, 1):  # a causal mask
        return False
    while parent and parent not in modules:
        parent = parent.rpartition(".")[0]
    if parent in ("", backbone):
        return False
    depth = name_here.count(".") - parent.count(".")
    inside = alone or not backbone or parent.startswith(f"{backbone}.")
    return inside or depth == 1  # a part of a head that this task has no use for is a module of its own


def _require_sizes(shown: str, task: str, model: Any, mismatched: Any) -> None:
    """Refuse weights of other sizes than the configuration's, and label names that are not those of the head's rows.

    A head has as many rows as config.json has labels, so a wrong list of labels shows as a wrong head.
    """
    labels = model.config.id2label or {}
    for name, stored_shape, wanted in sorted(mismatched):
        if wanted[0] == len(labels) != stored_shape[0] and name.endswith((".weight", ".bias")):
            raise CheckpointError(
                f"{shown}: labels and head do not belong together",
                found=f"{len(labels)} labels in config.json (id2label), {stored_shape[0]} rows in {name}",
                expected="one label a row",
                action="correct id2label in config.json",
            )
        raise CheckpointError(
            f"{shown}: weights and configuration do not belong together",
            found=f"{name} is {tuple(stored_shape)}",
            expected=f"{tuple(wanted)}, as config.json says",
            action="use the config.json that was saved with the weights",
        )
    if task in LABELLED and sorted(labels) != list(range(len(labels))):
        raise CheckpointError(
            f"{shown}: label ids are not those of the head's rows",
            found=f"{sorted(labels)[:8]} in config.json (id2label)",
            expected=f"0 to {len(labels) - 1}",
            action="correct id2label in config.json",
        )
