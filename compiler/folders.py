"""What a folder looks like that is not what a command takes, and which command takes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from compiler.errors import UsageError

WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt")
STAGES = frozenset({"export", "optimize", "build", "check", "measure", "checkpoint"})  # folders of the cache
LISTED = 6


class Seen(NamedTuple):
    """`kind` in one word, what it is in a few, and what to do with it."""

    kind: str
    words: str
    action: str


def not_a_bundle(folder: Path) -> UsageError:
    """The error for a folder, or a place where nothing is, that was to be a bundle."""
    return _refused(folder, "a bundle", "a folder that `compile build` wrote")


def not_portable(folder: Path) -> UsageError:
    """The same for one that was to be a portable model."""
    return _refused(folder, "a portable model", "a folder that `compile export` wrote")


def look(folder: Path) -> Seen:
    """What a folder is, by the names in it."""
    names = {path.name for path in folder.iterdir()}
    first = next(_kinds(folder, names), None)
    if first:
        return first
    if below := sorted(f"{path.name} ({found.kind})" for path, found in _below(folder)):
        return Seen("parent", f"folders in it are: {', '.join(below[:LISTED])}", "name one of these")
    listed = ", ".join(sorted(names)[:LISTED]) + (", ..." if len(names) > LISTED else "")
    return Seen("", listed or "an empty folder", "name another folder")


def _kinds(folder: Path, names: set[str]) -> Iterator[Seen]:
    """What it could be; the first counts."""
    if "files.json" in names or len(STAGES & names) > 1:
        words = "an entry of the cache" if "files.json" in names else "the cache of `compile build`"
        yield Seen("cache", words, "name a bundle: a build writes it to --out, or below artifacts/")
    if "manifest.sha256" in names or {"manifest.json", "certificate.json"} <= names:
        yield Seen("bundle", "a bundle", "`compile run`, `inspect`, `check` and `bench` take it")
    if "adapter_config.json" in names:
        yield Seen("adapter", "a PEFT adapter", f"compile build BASE --adapter {folder}")
    if "config.json" in names and any(next(folder.glob(pattern), None) for pattern in WEIGHTS):
        yield Seen("checkpoint", "a checkpoint", f"compile build {folder}")
    if "optimized.json" in names:
        yield Seen("lowered", "what `compile optimize` wrote", "`compile build` makes a bundle, of the checkpoint")
    if "exported.json" in names:
        yield Seen("portable", "a portable model that `compile export` wrote", f"compile optimize {folder}")
    if files := sorted(name for name in names if name.endswith(".gguf")):
        yield Seen("gguf", f"GGUF files: {', '.join(files[:LISTED])}", f"compile build {folder / files[0]}")
    if any(name.endswith(".onnx") for name in names):
        yield Seen("onnx", "ONNX files that another program wrote", "compile the checkpoint that they were made of")


def _below(folder: Path) -> Iterator[tuple[Path, Seen]]:
    """What folders in a folder are."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (found := next(_kinds(path, {each.name for each in path.iterdir()}), None)):
            yield path, found


def _refused(folder: Path, wanted: str, expected: str) -> UsageError:
    if not os.path.isdir(folder):
        found = "a file" if os.path.exists(folder) else "nothing there"
        return UsageError(f"{folder}: no such folder", found=found, expected=expected, action="check the path")
    seen = look(folder)
    return UsageError(f"{folder}: not {wanted}", found=seen.words, expected=expected, action=seen.action)
