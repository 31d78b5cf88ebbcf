"""A model with a PEFT adapter in effect: weights merged, or virtual tokens in front of the text."""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from safetensors import safe_open

from compiler.checkpoint.adapter import CONFIG, ORIGIN, VIRTUAL, WEIGHTS
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.tuner import unknown
from compiler.checkpoint.virtual import PREFIX, VirtualTokens
from compiler.errors import CheckpointError
from compiler.reading import read_json

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

PLACE = "base_model.model."  # what PEFT puts before the names of a model's modules
DELTA = ".token_adapter.trainable_tokens_delta"
NAME = "default"  # what PEFT calls its only adapter


class LowRank(NamedTuple):
    """A change of a linear layer: y = layer(x) + x A B, with A (in, rank) and B (rank, out); the scale is in B."""

    a: torch.Tensor
    b: torch.Tensor


def tuned(model: Any, folder: Path) -> Any:
    """The model with the adapter of `folder` in effect.

    Raises:
        CheckpointError: the adapter does not fit the model, is damaged, or cannot be used with it.
    """
    peft = _load(model, folder)
    if peft.active_peft_config.peft_type in VIRTUAL:
        return VirtualTokens(peft)
    _untie(peft)
    tied = model.config.tie_word_embeddings
    try:
        with quiet():
            merged = peft.merge_and_unload()
        merged.config.tie_word_embeddings = tied  # some models scale by it, so it stays what it was in training
        return merged
    except Exception as error:  # each tuner has reasons of its own
        raise CheckpointError(
            f"{_shown(folder)}: this adapter cannot be merged into its model", found=_first_line(error)
        ) from error


def _untie(peft: Any) -> None:
    """Give every layer that the adapter changes weights of its own: merged into shared ones, a change of the head
    would change the embedding too.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    modules = list(peft.modules())
    owners = Counter(id(weight) for module in modules for weight in module._parameters.values())
    for layer in (module for module in modules if isinstance(module, BaseTunerLayer)):
        for module in layer.get_base_layer().modules():
            for name, weight in module._parameters.items():
                if weight is not None and owners[id(weight)] > 1:
                    setattr(module, name, torch.nn.Parameter(weight.detach().clone(), weight.requires_grad))


def low_rank(model: Any, folder: Path, name: str) -> dict[str, LowRank]:
    """The changes that a LoRA adapter makes, by module; the model is left as it was.

    Raises:
        CheckpointError: the adapter does not fit, or is more than low-rank changes of linear layers.
    """
    config = _config(folder)
    why = _why_not_apart(config) or _own_weights(model, folder)
    if not why:
        peft = _load(model, folder)
        try:
            return _changes(peft, folder)
        finally:
            peft.unload()
    raise CheckpointError(
        f'adapter "{name}" cannot be kept apart from the base',
        found=why,
        expected="plain LoRA of linear layers",
        action="compile it in: a build of its own with --adapter PATH alone",
    )


def _why_not_apart(config: Any) -> str:
    """What makes it more than matrices beside linear layers; empty if nothing does."""
    if config.peft_type != "LORA":
        return f"a {config.peft_type.value} adapter"
    settings = ("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication",
                "target_parameters")  # fmt: skip
    found = [setting for setting in settings if getattr(config, setting, None)]
    if getattr(config, "bias", "none") != "none":
        found.append(f"bias={config.bias}")
    start = config.init_lora_weights
    if isinstance(start, str) and start.lower().startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        found.append(f"init_lora_weights={start}, which changed the base")
    return ", ".join(found)


def _own_weights(model: Any, folder: Path) -> str:
    """What it brings beside its matrices; PEFT saves the tables of a changed head too, which may be the base's."""
    base = model.state_dict()
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        for key in sorted(file.keys()):
            if ".lora_" in key:
                continue
            own = base.get(key.removeprefix(PLACE).replace(".base_layer.", "."))
            tensor = file.get_tensor(key)
            if own is None or own.shape != tensor.shape or not torch.equal(own, tensor.to(own.dtype)):
                return f"weights of its own: {key}"
    return ""


def _changes(peft: Any, folder: Path) -> dict[str, LowRank]:
    from peft.tuners.lora.layer import Linear, LoraLayer

    changes: dict[str, LowRank] = {}
    layers = [each for each in peft.base_model.model.named_modules() if isinstance(each[1], LoraLayer)]
    for path, found in layers:
        layer = cast("Any", found)
        if type(layer) is not Linear or NAME in layer.lora_variant:
            raise CheckpointError(
                f"{_shown(folder)}: {path} is not a linear layer with plain LoRA",
                found=type(cast("Any", found).get_base_layer()).__name__,
                action="compile the adapter in: a build of its own with --adapter PATH alone",
            )
        a, b = (cast("Any", part[NAME]).weight for part in (layer.lora_A, layer.lora_B))
        changes[path] = LowRank(a.detach().T.clone(), (layer.scaling[NAME] * b).detach().T.clone())
    return changes


def _load(model: Any, folder: Path) -> PeftModel:
    import peft
    from peft import MODEL_TYPE_TO_PEFT_MODEL_MAPPING as KINDS
    from safetensors.torch import load_file

    config = cast("Any", _config(folder))
    weights = load_file(folder / WEIGHTS)
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{_shown(folder)}: weights are not finite", found=f"NaN or Inf in {key}")
    if config.peft_type in VIRTUAL and config.task_type not in KINDS:
        raise CheckpointError(
            f"{_shown(folder)}: virtual tokens need a task",
            found=f"task_type {config.task_type}",
            expected=", ".join(KINDS),
            action="set task_type in adapter_config.json",
        )
    if config.peft_type in VIRTUAL and model.config.is_encoder_decoder:
        raise CheckpointError(
            f"{_shown(folder)}: virtual tokens of an encoder-decoder are not supported",
            found=f"{config.peft_type.value} of {type(model).__name__}",
            expected="a merged adapter (LoRA, IA3, ...), or virtual tokens of an encoder or a decoder",
        )
    _require_past(model, config, folder)
    _grow(model, weights, folder)
    try:
        with quiet():
            tuned = KINDS.get(str(config.task_type), peft.PeftModel)(model, config, NAME)
            result: Any = peft.set_peft_model_state_dict(tuned, weights, adapter_name=NAME)
    except Exception as error:  # PEFT asserts, indexes and raises as its files provoke
        raise CheckpointError(
            f"{_shown(folder)}: the adapter does not fit {type(model).__name__}",
            found=_reason(error),
            action="use the model that it was trained on",
        ) from error
    strangers = [key for key in result.unexpected_keys if key != "prompt_embeddings"]  # which PEFT places itself
    strangers = [key for key in strangers if not _said_twice(key, weights)]
    own = "" if config.peft_type in VIRTUAL else tuned.base_model.prefix
    missing = [key for key in result.missing_keys if own and own in key and f".{NAME}" in key]
    if strangers or missing:
        raise CheckpointError(
            f"{_shown(folder)}: the adapter does not fit {type(model).__name__}",
            found=f"{len(strangers)} tensors without a place, {len(missing)} without a value: "
            + ", ".join([*strangers, *missing][:3]),
            action="use the model and the --task that it was trained with",
        )
    return tuned.eval()


def _grow(model: Any, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Add the rows that the vocabulary got while the adapter was trained, to every table that has one for each token.

    Raises:
        CheckpointError: a table's new rows are neither in the adapter nor those of a table that is.
    """
    ends = [table for table in (model.get_input_embeddings(), model.get_output_embeddings()) if table is not None]
    tables = {path: each for path, each in model.named_modules(remove_duplicate=False) if each in ends}
    given = {
        path: tensor.shape[0]
        for path in tables
        for key, tensor in weights.items()
        if key.removeprefix(PLACE)
        in {f"{path}{place}weight" for place in (".", ".base_layer.", ".token_adapter.base_layer.")}
    }
    rows, grown = ends[0].weight.shape[0], max(given.values(), default=0)
    if grown <= rows:
        return
    known = {id(tables[path].weight) for path, count in given.items() if count == grown}
    if unknown := [path for path, table in tables.items() if id(table.weight) not in known]:
        raise CheckpointError(
            f"{_shown(folder)}: the vocabulary grew, and not all new rows are here",
            found=f"{grown} rows in {', '.join(given)}; {rows} in {unknown[0]}",
            expected="every table in the adapter",
            action="save it again with save_embedding_layers=True",
        )
    model.resize_token_embeddings(grown, mean_resizing=False)


def _said_twice(key: str, weights: dict[str, torch.Tensor]) -> bool:
    """PEFT saves a trained table under a second name, which it does not read, where the vocabulary grew; and trained
    tokens for the head too, where it is tied to the table.
    """
    if key.endswith(DELTA):
        twins = (each for name, each in weights.items() if name != key and name.endswith(DELTA))
        return any(torch.equal(weights[key], each) for each in twins)
    same = weights.get(key.replace(".modules_to_save.", "."))
    return ".modules_to_save." in key and same is not None and torch.equal(weights[key], same)


def _require_past(model: Any, config: Any, folder: Path) -> None:
    """Prefix tuning gives past keys and values, which some encoders do not take."""
    backbone = getattr(model, model.base_model_prefix, model)
    takers = (inspect.signature(each.forward).parameters for each in (model, backbone))
    if config.peft_type != PREFIX or any("past_key_values" in parameters for parameters in takers):
        return
    raise CheckpointError(
        f"{_shown(folder)}: prefix tuning of {type(model).__name__} is not supported",
        found="its forward takes no past keys and values",
        expected="a decoder, or an encoder such as BERT; others take merged adapters, prompt tuning and p-tuning",
    )


def _config(folder: Path) -> PeftConfig:
    """PEFT's configuration, for inference. A setting that PEFT does not know must be unset."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    path = folder / CONFIG
    stated = read_json(path, dict[str, Any], CheckpointError)
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[stated["peft_type"]]
    known = {field.name for field in dataclasses.fields(kind)}
    unknown(
        {name: value for name, value in stated.items() if name not in known} | {"peft_type": stated["peft_type"]},
        _shown(folder),
    )
    dropped = {"auto_mapping", "runtime_config", "inference_mode", "revision"}
    try:
        return kind(**{name: value for name, value in stated.items() if name in known - dropped}, inference_mode=True)
    except Exception as error:  # wrong types surface anywhere
        raise CheckpointError(
            f"{_shown(folder)}: PEFT cannot use this configuration", found=_first_line(error)
        ) from error


def _shown(folder: Path) -> str:
    """The adapter as its user knows it."""
    origin = folder / ORIGIN
    return origin.read_text(encoding="utf-8") if origin.is_file() else str(folder)


def _reason(error: Exception) -> str:
    """Of PyTorch's list of tensors that do not fit, the first."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "size mismatch" in line), _first_line(error))[:300]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
