"""Which tasks an architecture has a head for, and which one a checkpoint was trained for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from compiler.checkpoint.quiet import quiet
from compiler.errors import CheckpointError
from compiler.tasks import TASKS

DISCRIMINATOR = "replaced-token-detection"


def tasks_of(folder: Path) -> list[str]:
    """Tasks for which transformers has a class for the configuration in `folder`.

    Raises:
        CheckpointError: the configuration cannot be read.
    """
    config = _config(folder)
    return [task for task in TASKS if _serves(task, config)]


def has_head(folder: Path, task: str) -> bool:
    """Whether `task` is one of `tasks_of`, asked of no other task. Raises as it does."""
    return _serves(task, _config(folder))


def served(folder: Path, stored: Collection[str], tasks: Iterable[str]) -> list[str]:
    """Of these tasks those whose model finds all its weights among the `stored` ones, by name.

    The one that leaves the fewest over comes first: heads of different tasks may be called alike.
    """
    import torch
    import transformers

    config = _config(folder)
    unused: dict[str, int] = {}
    for task in tasks:
        try:
            with quiet(), torch.device("meta"):
                model = getattr(transformers, TASKS[task].auto_class).from_config(config)
        except Exception:  # noqa: BLE001 - a class that does not take this configuration serves nothing
            continue
        begin = f"{model.base_model_prefix}."
        spared = "pooler." if task == "feature-extraction" else None
        wanted = {name.removeprefix(begin) for name, _ in model.named_parameters() if not (spared and spared in name)}
        there = {name.removeprefix(begin) for name in stored}
        if wanted <= there:
            unused[task] = len(there - wanted)
    return sorted(unused, key=unused.__getitem__)


def trained_for(folder: Path, config: dict[str, Any], model: str) -> str:
    """The task of the class that config.json says the checkpoint was saved from; it may be one that is not in `TASKS`.

    Args:
        config: config.json, of a model type that transformers knows.
        model: the checkpoint as its user named it.

    Raises:
        CheckpointError: it names no class, one that transformers does not have for this model type, or several of
            different tasks.
    """
    names = config.get("architectures") or []
    found = {task_of(folder, name) or _other_task(name, config["model_type"]) for name in names}
    if len(found) == 1 and (task := found.pop()):
        return task
    raise CheckpointError(
        f"{model}: config.json does not say what the model was trained for",
        found=f'"architectures": {names}'[:200],
        expected=f'the name of a class that transformers has for models of type "{config["model_type"]}"',
        action=f"choose with --task: {', '.join(tasks_of(folder))}",
    )


def task_of(folder: Path, architecture: str) -> str | None:
    """The task of a class of transformers for the configuration in `folder`, or None where it has none of `TASKS`.

    A model with several heads for pre-training, such as BERT's, is taken for the one that fills in words; one that
    makes one text from another, such as BART, for that.
    """
    config = _config(folder)
    found = [task for task in TASKS if architecture in _classes(task, config)]
    known = [task for task in found if _does(task, architecture, config)]
    if found and not known and any(_classes("fill-mask", config)):
        return "fill-mask"
    return min(known, key=lambda task: (TASKS[task].kind != "encoder-decoder", task == DISCRIMINATOR), default=None)


def _other_task(name: str, model_type: str) -> str | None:
    """Of a class that transformers has for this model type, by Optimum's names; None where there is no such class."""
    import transformers
    from optimum.exporters.tasks import TasksManager

    kind = getattr(transformers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
        return None
    if getattr(getattr(kind, "config_class", None), "model_type", None) != model_type:
        return None
    try:
        return str(TasksManager.infer_task_from_model(kind))
    except (ValueError, KeyError):
        return None


def _config(folder: Path) -> Any:
    import transformers

    try:
        with quiet():
            return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # configurations raise whatever their fields provoke
        lines = str(error).strip().splitlines()
        raise CheckpointError(
            f"{folder}: the configuration cannot be read",
            found=" ".join(lines)[:300] or type(error).__name__,
            action="correct config.json, or save the checkpoint again",
        ) from error


def _classes(task: str, config: Any) -> Iterator[str]:
    """Names of the classes that the task's auto class knows for this configuration."""
    import transformers

    names = getattr(transformers, TASKS[task].auto_class)._model_mapping._model_mapping.get(config.model_type, ())
    yield from (names,) if isinstance(names, str) else names


def _serves(task: str, config: Any) -> bool:
    return any(_does(task, name, config) for name in _classes(task, config))


def _does(task: str, architecture: str, config: Any) -> bool:
    """False for a pre-training class that does not tell replaced tokens; every other auto class names its task."""
    return task != DISCRIMINATOR or _one_logit_a_token(architecture, config)


def _one_logit_a_token(architecture: str, config: Any) -> bool:
    """Whether the class gives `logits` of (batch, sequence). It is asked without weights, which takes no memory."""
    import torch
    import transformers

    try:
        with quiet(), torch.device("meta"), torch.no_grad():
            model = getattr(transformers, architecture)(config)
            logits = model(input_ids=torch.zeros(2, 16, dtype=torch.int64)).get("logits")
    except Exception:  # noqa: BLE001 - it reads no text, or cannot run without weights
        return False
    return logits is not None and tuple(logits.shape) == (2, 16)
