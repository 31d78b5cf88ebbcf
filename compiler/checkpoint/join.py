"""An adapter and its base as one checkpoint folder, which loads like any other."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from compiler.cache import INDEX, intact, seal
from compiler.checkpoint.adapter import (
    CONFIG,
    FOLDER,
    ORIGIN,
    TEMPLATES,
    TOKENIZER,
    WEIGHTS,
    Adapter,
    content,
    last_part,
)
from compiler.checkpoint.apart import JINJA, require_no_texts_of_its_own, require_same_texts, templates
from compiler.checkpoint.resolve import Checkpoint
from compiler.checkpoint.weights import shapes
from compiler.errors import CheckpointError
from compiler.reading import read_json
from compiler.storage import staging

HEADS = re.compile(r"(?:^|\.)(?:classifier|score)(?:\.out_proj)?\.weight$")


def attach(checkpoint: Checkpoint, adapters: Sequence[Adapter], base: str | None, cache: Path) -> Checkpoint:
    """The checkpoint with its adapters: one compiled in, or several kept apart.

    Args:
        base: the name by which the adapters know this checkpoint; None compares with the checkpoint's own names.

    Raises:
        CheckpointError: an adapter was trained on another model.
    """
    for adapter in adapters:
        _require_base(adapter, checkpoint, base)
    return join(checkpoint, adapters, cache)


def join(checkpoint: Checkpoint, adapters: Sequence[Adapter], cache: Path) -> Checkpoint:
    """As `attach`, for adapters whose base is known."""
    if not adapters:
        return checkpoint
    if adapters[0].name:
        apart = (replace(each, joined=_join(checkpoint, checkpoint.reference, each, cache)) for each in adapters)
        return replace(checkpoint, adapters=tuple(apart))
    adapter = adapters[0]
    folder = _join(checkpoint, checkpoint.folder, adapter, cache)
    original = _join(checkpoint, checkpoint.original, adapter, cache) if checkpoint.original else None
    total = hashlib.sha256(f"{checkpoint.source.digest}\0{adapter.source.digest}".encode()).hexdigest()
    source = msgspec.structs.replace(checkpoint.source, digest=total, adapter=adapter.source)
    config = read_json(folder / "config.json", dict[str, Any], CheckpointError)
    return replace(
        checkpoint, source=source, folder=folder, config=config, compiled_in=adapter.location, original=original
    )


def _require_base(adapter: Adapter, checkpoint: Checkpoint, base: str | None) -> None:
    if adapter.base is None:  # it does not say; shapes are compared when it is loaded
        return
    location = last_part(checkpoint.source.name).removesuffix(".gguf")
    own = checkpoint.config.get("_name_or_path")
    known = [last_part(base)] if base else [location, *([last_part(own)] if isinstance(own, str) and own else [])]
    if adapter.base.lower() not in {name.lower() for name in known}:
        raise CheckpointError(
            f"{adapter.location}: an adapter of another model",
            found=f'trained on "{adapter.base}"',
            expected=" or ".join(f'"{name}"' for name in dict.fromkeys(known)),
            action=f"if this is the same model under another name, say so: --adapter-base {adapter.base}",
        )


def _join(checkpoint: Checkpoint, base: Path, adapter: Adapter, cache: Path) -> Path:
    """A folder with links to the base's files, the adapter's files in `adapter/`, and one config.json for both."""
    source = adapter.source
    parts = (str(base), checkpoint.source.digest, source.digest, adapter.location, checkpoint.task)
    out = cache / "checkpoint" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    if intact(out):
        return out
    own: set[str] = set()
    if adapter.name:
        require_same_texts(adapter, checkpoint.folder)
    elif (adapter.folder / "tokenizer.json").is_file():
        own = {name for name in TOKENIZER if (adapter.folder / name).is_file()}
    else:
        require_no_texts_of_its_own(adapter, checkpoint.folder)
    with staging(out, "config.json") as folder:
        for path in [base] if base.is_file() else base.iterdir():
            if path.name not in {"config.json", INDEX, *own, *_outdone(adapter, own)}:
                os.symlink(path.absolute(), folder / path.name)
        for name in own:
            shutil.copyfile(adapter.folder / name, folder / name)
        if own and (adapter.folder / TEMPLATES).is_dir():
            shutil.copytree(adapter.folder / TEMPLATES, folder / TEMPLATES)
        (folder / FOLDER).mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(adapter.folder / name, folder / FOLDER / name)
        (folder / FOLDER / ORIGIN).write_text(adapter.location, encoding="utf-8")
        config = read_json(checkpoint.folder / "config.json", dict[str, Any], CheckpointError)
        (folder / "config.json").write_text(json.dumps({**config, **_labels(adapter, config)}, indent=2))
        if content(adapter.folder) != source.digest:
            raise CheckpointError(
                f"{adapter.location}: the adapter changed while it was read",
                action="build again once nothing writes to it, or from a copy",
            )
        seal(folder)
    return out


def _outdone(adapter: Adapter, own: set[str]) -> set[str]:
    """The base's chat templates, all of which those that an adapter brings with its tokenizer take the place of."""
    if not own or not templates(adapter.folder):
        return set()
    return {JINJA, TEMPLATES}


def _labels(adapter: Adapter, config: dict[str, Any]) -> dict[str, Any]:
    """What the adapter's own classification head says about labels: their number, and their names if it has any."""
    rows = next((shape[0] for key, shape in shapes(adapter.folder / WEIGHTS).items() if HEADS.search(key)), None)
    if rows is None or adapter.task not in {"text-classification", "token-classification"}:
        return {}
    beside = adapter.folder / "config.json"
    named = read_json(beside, dict[str, Any], CheckpointError).get("id2label") if beside.is_file() else None
    for found in (named, config.get("id2label")):
        if isinstance(found, dict) and len(found) == rows:
            return {"id2label": found, "label2id": {str(label): int(index) for index, label in found.items()}}
    numbered = {str(index): f"LABEL_{index}" for index in range(rows)}
    return {"id2label": numbered, "label2id": {label: int(index) for index, label in numbered.items()}}
