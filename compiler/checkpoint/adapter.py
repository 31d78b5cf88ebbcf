"""PEFT adapters: found and vetted.

Only `adapter_config.json` and `adapter_model.safetensors` are ever read; an adapter brings no code and no pickle.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.checkpoint.hub import hub, located
from compiler.checkpoint.links import require_whole
from compiler.checkpoint.tuner import unknown
from compiler.checkpoint.weights import check_safetensors, shapes
from compiler.errors import CheckpointError, UsageError
from compiler.reading import read_json
from compiler.records import Source
from compiler.storage import digest

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FOLDER = "adapter"  # within a joined checkpoint
ORIGIN = "origin.txt"  # beside them in a joined checkpoint: where the user had them
LONGEST_CONFIG = 1 << 20  # bytes

# What a tuner becomes: weights of the base that changed, or constants in front of the text.
MERGED = frozenset({
    "LORA", "ADALORA", "IA3", "LOHA", "LOKR", "OFT", "BOFT", "VERA", "FOURIERFT", "HRA", "LN_TUNING",
})  # fmt: skip
VIRTUAL = frozenset({"PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"})

TASKS = {
    "CAUSAL_LM": "text-generation",
    "SEQ_2_SEQ_LM": "text2text-generation",
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "FEATURE_EXTRACTION": "feature-extraction",
}

# Settings that import a module of their choosing or make an adapter depend on the tokens: never loaded.
REFUSED = ("megatron_config", "alora_invocation_tokens")

# Files that replace the base's where the adapter was trained with others.
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
TEMPLATES = "additional_chat_templates"  # a folder of theirs, NAME.jinja
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Adapter:
    """A vetted adapter. `joined` is the checkpoint folder that holds it and its base, once it is known.

    `name` is what requests choose it by; an empty one is compiled into the model. `location` is what the user named.
    """

    name: str
    source: Source
    folder: Path
    config: dict[str, Any]
    location: str
    joined: Path | None = None

    @property
    def tuner(self) -> str:
        return str(self.config["peft_type"])

    @property
    def task(self) -> str | None:
        """The task it was trained for, or None where it does not say."""
        return TASKS.get(str(self.config.get("task_type")))

    @property
    def base(self) -> str | None:
        """The name of the model it was trained on, without a path."""
        name = self.config.get("base_model_name_or_path")
        return last_part(name) if isinstance(name, str) and name else None


def find(options: Sequence[str]) -> tuple[Adapter, ...]:
    """The adapters that a user named, each `PATH` or `NAME=PATH`.

    A single one without a name is compiled in. Several are kept apart; those without a name are called by their
    folder's.

    Raises:
        UsageError: two have one name, or a name has other characters than letters, digits, ".", "_" and "-".
        CheckpointError: an adapter cannot be found, is damaged, or is of a kind that cannot be compiled.
    """
    pairs = [_split(option) for option in options]
    if len(pairs) > 1:
        pairs = [(name or last_part(location), location) for name, location in pairs]
    names = [name for name, _ in pairs]
    for name in names:
        if name and not NAME.fullmatch(name):
            raise UsageError(
                f'adapter name "{name}"',
                expected='letters, digits, ".", "_" and "-"',
                action="name it yourself: --adapter NAME=PATH",
            )
        if names.count(name) > 1:
            raise UsageError(f'two adapters are called "{name}"', action="name them apart: --adapter NAME=PATH")
    return tuple(_find(*pair) for pair in pairs)


def task_of(adapters: Sequence[Adapter]) -> str | None:
    """The task that they were trained for, if any of them says.

    Raises:
        UsageError: they were trained for different ones.
    """
    tasks = {each.task for each in adapters if each.task}
    if len(tasks) > 1:
        raise UsageError(
            "these adapters are for different tasks",
            found=", ".join(f"{each.location} for {each.task}" for each in adapters),
            expected="one task",
            action="build one bundle for each task, or choose with --task",
        )
    return next(iter(tasks), None)


def last_part(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _split(option: str) -> tuple[str, str]:
    name, equals, location = option.partition("=")
    if equals and "/" not in name and not os.path.exists(option):
        if not location or not name:
            raise UsageError(f'--adapter "{option}"', expected="PATH or NAME=PATH")
        return name, location
    return "", option


def _find(name: str, location: str) -> Adapter:
    path = located(location)
    require_whole(path)
    commit = None
    if path.is_dir():
        folder = path.resolve()
    elif path.exists():
        raise CheckpointError(f"{path}: not an adapter", found="a file", expected=f"a folder with {CONFIG}")
    else:
        folder, commit = hub(location, None, allow_pickle=False)
    config = _config(folder, location)
    weights = folder / WEIGHTS
    if not weights.is_file():
        pickled = (folder / "adapter_model.bin").exists()
        raise CheckpointError(
            f"{location}: no {WEIGHTS}",
            found="adapter_model.bin, a pickle: reading it can run code hidden in it" if pickled else "",
            action="load it with PEFT where you trust it, and save it with save_pretrained(safe_serialization=True)",
        )
    check_safetensors(weights)
    _require_sane(config, weights, location)
    source = Source(
        kind="hub" if commit else "folder",
        name=location if commit else folder.name,
        digest=content(folder),
        revision=commit,
    )
    return Adapter(name=name, source=source, folder=folder, config=config, location=location)


def content(folder: Path) -> str:
    """SHA-256, in hex, of every file of an adapter that may be read."""
    files = [folder / file for file in (CONFIG, WEIGHTS, "config.json", *TOKENIZER) if (folder / file).is_file()]
    files += sorted((folder / TEMPLATES).glob("*.jinja"))
    names = (f"{file.relative_to(folder)}\0{digest(file)}" for file in files)
    return hashlib.sha256("".join(names).encode()).hexdigest()


def _config(folder: Path, location: str) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{location}: not an adapter", found=f"no {CONFIG}", expected="a folder that PEFT's save_pretrained wrote"
        )
    config = read_json(path, dict[str, Any], CheckpointError, largest=LONGEST_CONFIG)
    if not isinstance(tuner := config.get("peft_type"), str):
        raise CheckpointError(
            f"{path}: not an adapter's configuration", found=f"peft_type {tuner!r:.80}", expected="the name of a tuner"
        )
    if tuner not in MERGED | VIRTUAL:
        raise CheckpointError(
            f'{location}: "{tuner}" adapters cannot be compiled',
            expected=", ".join(sorted(MERGED | VIRTUAL)),
            action="merge it into the model with PEFT's merge_and_unload, if it can be, and compile the result",
        )
    for setting in REFUSED:
        if config.get(setting):
            raise CheckpointError(f'{path}: "{setting}" is not supported', found=str(config[setting])[:80])
    unknown(config, location)
    return config


def _require_sane(config: dict[str, Any], weights: Path, location: str) -> None:
    """Sizes of the configuration are sizes of the file: nothing larger than the file says is ever allocated."""
    largest = max((size for shape in shapes(weights).values() for size in shape), default=0)
    patterns = config.get("rank_pattern") or {}
    sizes = {
        "r": config.get("r"),
        "init_r": config.get("init_r"),
        "num_virtual_tokens": config.get("num_virtual_tokens"),
        **(patterns if isinstance(patterns, dict) else {"rank_pattern": patterns}),
    }
    for setting, size in sizes.items():
        if size is not None and (not isinstance(size, int) or not 0 <= size <= largest):
            raise CheckpointError(
                f'{location}: "{setting}" does not belong to these weights',
                found=str(size)[:80],
                expected=f"a size in {WEIGHTS}, at most {largest}",
            )
