"""config.json: every entry is read by the model's class in transformers, changes no answer, or is refused by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compiler.checkpoint.neutral import HARMLESS, HARMLESS_NAMES, NEUTRAL, READ, SYNONYMS, kind
from compiler.errors import CheckpointError

RECOMPUTED = frozenset({"dynamic"})  # rotary frequencies that follow the length of the text
ROTARY = frozenset({"rope_scaling", "rope_theta", "partial_rotary_factor"})  # transformers gathers them
TEXT = ("text_config", "encoder", "decoder")  # configurations inside one that text goes through
CONFIG = r"\w*(?:config|cfg)"  # what code calls a configuration
SHARED = (
    *("masking_utils.py", "modeling_rope_utils.py", "modeling_utils.py", "modeling_layers.py", "cache_utils.py"),
    *("configuration_utils.py", "generation/utils.py"),
)


class Known:
    """What a class of configurations takes, by its own code and that of its models."""

    def __init__(self, config_class: Any) -> None:
        self.own = {field.name: field.default for field in fields(config_class)}
        self.renamed: Mapping[str, str] = config_class.attribute_map
        self.taken = self.own.keys() | self.renamed.keys() | (ROTARY if "rope_parameters" in self.own else set())
        file = Path(inspect.getfile(config_class))
        self.models = "".join(path.read_text(encoding="utf-8") for path in sorted(file.parent.glob("modeling_*.py")))
        self.read = mentioned(self.models) | mentioned(file.read_text(encoding="utf-8"), "self|" + CONFIG)
        if "create_causal_mask" in self.models and "create_bidirectional_mask" not in self.models:
            self.read.add("is_causal")

    def default(self, name: str) -> Any:
        """Of an entry that the class has; None where it has none."""
        value = self.own.get(self.renamed.get(name, name))
        return None if value is MISSING else value

    def uses(self, name: str) -> bool:
        """Whether an entry that the class has is read, under any of its names, by its own code or what models share."""
        target = self.renamed.get(name, name)
        names = {name, target, *(each for each, to in self.renamed.items() if to == target)}
        return not names.isdisjoint(self.read | _shared())


@cache
def _known(config_class: Any) -> Known:
    return Known(config_class)


@cache
def _shared() -> set[str]:
    """Entries that code mentions which every model runs through."""
    import transformers

    root = Path(transformers.__file__).parent
    return mentioned("".join((root / name).read_text(encoding="utf-8") for name in SHARED))


def mentioned(code: str, owner: str = CONFIG) -> set[str]:
    """Names that are asked of a configuration, and names in quotes."""
    return {word for pair in re.findall(rf"\b(?:{owner})\.(\w+)|[\"'](\w+)[\"']", code) for word in pair if word}


def unread(config: Mapping[str, Any], model: str) -> list[str]:
    """Entries that nothing reads, and that change no answer.

    Args:
        config: config.json, of a model type that transformers knows.
        model: the checkpoint as its user named it.

    Raises:
        CheckpointError: an entry that changes answers, or may, is left out by the model's class; it is named.
    """
    from transformers import CONFIG_MAPPING

    return _unread(config, CONFIG_MAPPING[config["model_type"]], model, "")


def _unread(config: Mapping[str, Any], config_class: Any, model: str, place: str) -> list[str]:
    from transformers import CONFIG_MAPPING, GenerationConfig, PreTrainedConfig

    known, elsewhere = _known(config_class), GenerationConfig._get_default_generation_params().keys()
    every = READ | {field.name for field in fields(PreTrainedConfig)}
    for name in ("rope_parameters", "rope_scaling"):
        if isinstance(config.get(name), dict) and name in known.taken:
            _require_rotary(config[name], f"{place}{name}.", known, model)
    whole = {**{name: known.default(name) for name in known.own}, **config}
    found: list[str] = []
    for name, value in config.items():
        if name in TEXT and isinstance(value, dict) and name in config_class.sub_configs:
            named, inner = value.get("model_type"), config_class.sub_configs[name]
            inner = CONFIG_MAPPING[named] if isinstance(named, str) and named in CONFIG_MAPPING else inner
            if is_dataclass(inner):
                found += _unread(value, inner, model, f"{place}{name}.")
        elif name in every or (name in elsewhere and name not in known.taken):
            continue
        elif name in known.taken:
            _require_activation(name, value, known, model)
            if known.uses(name):
                continue
            if value != known.default(name) and name in NEUTRAL and not NEUTRAL[name](value, whole, known.models):
                raise _left_out(f"{place}{name}", value, config_class, model)
            found.append(f"{place}{name}")
        elif name not in known.read:
            if not _harmless(name, value, whole, known):
                raise _left_out(f"{place}{name}", value, config_class, model)
            found.append(f"{place}{name}")
    return found


def _left_out(name: str, value: Any, config_class: Any, model: str) -> CheckpointError:
    return CheckpointError(
        f'{model}: "{name}" of config.json would be left out',
        found=str(value)[:80],
        expected=f'entries that models of type "{config_class.model_type}" have in transformers',
        action=f"use the model type that it was trained as; remove {name} if it was never in effect",
    )


def _harmless(name: str, value: Any, config: Mapping[str, Any], known: Known) -> bool:
    """Whether an entry that the class does not have changes nothing."""
    if name in NEUTRAL:
        return NEUTRAL[name](value, config, known.models)
    if group := next((names for names in SYNONYMS if name in names), None):
        return value is None or value in [config.get(each) for each in group if each in known.taken]
    return not value or name in HARMLESS or bool(HARMLESS_NAMES.search(name))


def _require_activation(name: str, value: Any, known: Known, model: str) -> None:
    from transformers.activations import ACT2FN

    named = "act" in name and isinstance(known.default(name), str) and known.default(name) in ACT2FN
    if named and value is not None and not (isinstance(value, str) and value in ACT2FN):
        raise CheckpointError(
            f'{model}: "{name}" of config.json cannot be {str(value)[:40]}',
            expected=f"one of {', '.join(sorted(ACT2FN))}",
        )


def _require_rotary(rope: Mapping[str, Any], place: str, known: Known, model: str) -> None:
    """Refuse scaling that is computed anew for each text, of no kind that transformers has, or with other settings."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    if kind(rope) in RECOMPUTED:
        raise CheckpointError(
            f'{model}: rope scaling "{kind(rope)}" is not supported',
            found="frequencies that follow the length of each text",
            expected="rope scaling that is the same for every text, such as linear, yarn or llama3",
            action="set rope_scaling to null in config.json if texts stay within the length it was trained with",
        )
    if kind(rope) not in {"default", "mrope", *ROPE_INIT_FUNCTIONS} and kind(rope) not in known.read:
        raise CheckpointError(
            f'{model}: rope scaling "{kind(rope)}" is unknown', expected=", ".join(sorted(ROPE_INIT_FUNCTIONS))
        )
    for name, value in rope.items():
        if isinstance(value, dict):  # of one kind of layers
            _require_rotary(value, f"{place}{name}.", known, model)
        elif value and name not in known.read | _shared() | HARMLESS:
            raise CheckpointError(
                f'{model}: "{place}{name}" of config.json would be left out',
                found=str(value)[:80],
                expected=f'settings that rope scaling "{kind(rope)}" has in transformers',
            )
