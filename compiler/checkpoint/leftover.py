"""What of a checkpoint was left unread because no answer depends on it: entries of its files, tensors, whole files.

What answers might depend on is refused where it is read. Names are "FILE: ENTRY", or that of the file.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compiler.cache import INDEX
from compiler.checkpoint import sentence
from compiler.checkpoint.accounted import mentioned, unread
from compiler.checkpoint.adapter import CONFIG as ADAPTER_CONFIG
from compiler.checkpoint.adapter import FOLDER as ADAPTER
from compiler.checkpoint.adapter import ORIGIN
from compiler.checkpoint.adapter import TOKENIZER as ADAPTER_TOKENIZER
from compiler.checkpoint.adapter import WEIGHTS as ADAPTER_WEIGHTS
from compiler.checkpoint.gguf_keys import NOTES
from compiler.checkpoint.resolve import Checkpoint
from compiler.checkpoint.sentence.listing import LIST, modules
from compiler.checkpoint.sentence.settings import ABOUT, TRANSFORMER
from compiler.checkpoint.tuner import unknown
from compiler.checkpoint.weights import PICKLE, SAFETENSORS
from compiler.errors import CheckpointError
from compiler.generation import FOLLOWED, IDLE, REFUSED
from compiler.reading import read_json
from compiler.tasks import TASKS

MOST, LONGEST = 200, 120  # names, and characters of one
GENERATION = "generation_config.json"
DOCUMENT = re.compile(r"\.(md|png|jpe?g|gif|svg|pdf)$|^(LICEN[CS]E|NOTICE|USE_POLICY)", re.IGNORECASE)
MAKING = ("__init__", "__new__", "from_pretrained", "_from_pretrained", "convert_to_native_format")
ALWAYS = frozenset({
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "additional_chat_templates", "vocab.txt", "vocab.json", "merges.txt", "spiece.model",
    "spm.model", "tokenizer.model", "sentencepiece.bpe.model", "source.spm", "target.spm", "vocab.bpe", "bpe.codes",
    "vocab-src.json", "vocab-tgt.json", "dict.txt",
})  # fmt: skip


def entries(checkpoint: Checkpoint, tokenizer: Any, tensors: Iterable[str]) -> tuple[str, ...]:
    """Entries of the files that were read, and tensors.

    Args:
        checkpoint: what is exported.
        tokenizer: its own (transformers).
        tensors: names that the weights have and the model has not.

    Raises:
        CheckpointError: see `unread`.
    """
    folder = checkpoint.folder
    if (folder / NOTES).is_file():  # its other files say what the conversion made of the keys
        found = read_json(folder / NOTES, list[str], CheckpointError)
    else:
        found = [f"config.json: {name}" for name in unread(checkpoint.config, checkpoint.location)]
        found += [f"config.json: {name}" for name in _outdone(checkpoint)]
        if _generates(checkpoint) and (folder / GENERATION).exists():
            known = FOLLOWED | IDLE | REFUSED.keys()
            found += [f"{GENERATION}: {name}" for name in _content(folder / GENERATION) if name not in known]
        if (folder / "tokenizer_config.json").exists():
            taken = _taken(type(tokenizer))  # type: ignore[arg-type]  # mypy takes no class for hashable
            written = _content(folder / "tokenizer_config.json")
            found += [f"tokenizer_config.json: {name}" for name in written if not _is_taken(name, taken)]
    weights = PICKLE if checkpoint.original and checkpoint.original.is_dir() else SAFETENSORS
    found += [f"{weights}: {name}" for name in dict.fromkeys(re.sub(r"\.\d+\.", ".*.", each) for each in tensors)]
    for each in checkpoint.adapters:
        found += [f"{each.name}/{ADAPTER_CONFIG}: {name}" for name in unknown(each.config, each.location)]
    if checkpoint.compiled_in:
        config = _content(folder / ADAPTER / ADAPTER_CONFIG)
        found += [f"{ADAPTER}/{ADAPTER_CONFIG}: {name}" for name in unknown(config, checkpoint.compiled_in)]
    return bounded(found)


def files(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Files that were not read, and folders with none that was; documents and hidden files are left out."""
    found = []
    if checkpoint.reference.is_dir():
        wanted = _wanted(checkpoint)
        found = [_shown(path) for path in sorted(checkpoint.reference.iterdir()) if path.name not in wanted]
    for each in checkpoint.adapters:
        known = {ADAPTER_CONFIG, ADAPTER_WEIGHTS, "config.json", *ADAPTER_TOKENIZER}
        found += [f"{each.name}/{_shown(path)}" for path in sorted(each.folder.iterdir()) if path.name not in known]
    return bounded(name for name in found if not _is_document(name))


def bounded(names: Iterable[str]) -> tuple[str, ...]:
    """At most `MOST` names, each of at most `LONGEST` printable characters; the last says how many more there are."""
    found = ["".join(char if char.isprintable() else "?" for char in name[:LONGEST]) for name in names]
    return tuple(found if len(found) <= MOST else [*found[: MOST - 1], f"and {len(found) - MOST + 1} more"])


def _wanted(checkpoint: Checkpoint) -> set[str]:
    """Names in the checkpoint's folder that are read."""
    folder = checkpoint.reference
    safe = any((folder / name).exists() for name in (SAFETENSORS, f"{SAFETENSORS}.index.json"))
    single = SAFETENSORS if safe else PICKLE
    index = folder / f"{single}.index.json"
    wanted = {*ALWAYS, ORIGIN, INDEX, ADAPTER, single}
    if index.exists():
        wanted |= {index.name, *_content(index).get("weight_map", {}).values()}
    if _generates(checkpoint):
        wanted.add(GENERATION)
    if sentence.task_of(folder) == checkpoint.task:
        wanted |= {LIST, ABOUT, next((name for name in TRANSFORMER if (folder / name).exists()), "")}
        wanted |= {each.folder.relative_to(folder).parts[0] for each in modules(folder) if each.folder != folder}
    return wanted


def _outdone(checkpoint: Checkpoint) -> list[str]:
    """Settings of generation in config.json that another file stands for, or that no answer of the task has a use for.

    transformers reads them where there is no generation_config.json.
    """
    if _generates(checkpoint) and not (checkpoint.folder / GENERATION).exists():
        return []
    from transformers import GenerationConfig

    names = GenerationConfig._get_default_generation_params().keys() - {"use_cache"}
    return [name for name, value in checkpoint.config.items() if name in names and value is not None]


def _generates(checkpoint: Checkpoint) -> bool:
    return TASKS[checkpoint.task].kind != "encoder"


@functools.cache
def _taken(tokenizer: type) -> set[str]:
    """Names of settings that the code mentions which makes tokenizers of this class."""
    found: set[str] = set()
    for kind in tokenizer.__mro__:
        if kind.__module__.startswith("transformers."):
            made = (kind.__dict__.get(name) for name in MAKING)
            found |= mentioned("".join(inspect.getsource(getattr(each, "__func__", each)) for each in made if each))
            found |= set(inspect.signature(kind).parameters)
    return found


def _is_taken(name: str, taken: set[str]) -> bool:
    return name in taken or name.endswith(("_token", "_tokens")) or name in ("tokenizer_class", "name_or_path")


def _content(path: Path) -> dict[str, Any]:
    return read_json(path, dict[str, Any], CheckpointError)


def _shown(path: Path) -> str:
    return path.name + ("/" if path.is_dir() else "")


def _is_document(name: str) -> bool:
    last = name.rstrip("/").rpartition("/")[2]
    return last.startswith(".") or bool(DOCUMENT.search(last))
