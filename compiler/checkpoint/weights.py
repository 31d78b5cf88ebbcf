"""Vet weight files by their headers, before anything large is read."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open

from compiler.errors import CheckpointError
from compiler.reading import parse_json, read_json

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
LONGEST_NAME = 255  # bytes of a file's name, which no file system exceeds
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


class Stored(msgspec.Struct, frozen=True):
    """A tensor as a safetensors header describes it."""

    dtype: str
    shape: tuple[int, ...]


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def check_safetensors(path: Path) -> None:
    """Refuse a file that is cut short, damaged, or not safetensors at all."""
    size = path.stat().st_size
    ends = [entry["data_offsets"][1] for entry in _header(path).values() if _has_offsets(entry)]
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    expected = 8 + length + max(ends, default=0)
    if ends and size != expected:
        raise CheckpointError(
            f"{path}: the file is {'cut short' if size < expected else 'longer than its header says'}",
            found=f"{size} bytes",
            expected=f"{expected} bytes",
            action="download it again",
        )
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the safetensors header is damaged", found=str(error), action="download it again"
        ) from error


def stored(path: Path) -> dict[str, Stored]:
    """Every tensor's type and shape, from the header of a file that `check_safetensors` let pass."""
    try:
        return {name: msgspec.convert(entry, Stored) for name, entry in _header(path).items() if name != "__metadata__"}
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{path}: the safetensors header is damaged", found=str(error)) from error


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, from the header of a file that `check_safetensors` let pass."""
    return {name: each.shape for name, each in stored(path).items()}


def weight_files(folder: Path, model: str, single: str = SAFETENSORS) -> list[Path]:
    """The files that transformers reads the weights from: `single`, or the shards that its index names.

    Raises:
        CheckpointError: there are none, shards are missing, left out of the index, or outside the folder.
    """
    index, suffix = folder / f"{single}.index.json", Path(single).suffix
    if not index.exists():
        if not (folder / single).exists():
            raise CheckpointError(
                f"{model}: no {single}, and no index of shards",
                found=_some(path.name for path in folder.glob(f"*{suffix}")),
                expected=f"{single}, or {index.name} with the shards that it names",
                action="save the checkpoint with save_pretrained",
            )
        return [folder / single]
    names = sorted(set(read_json(index, _Index, CheckpointError).weight_map.values()))
    for name in names:
        plain = name == Path(name).name and not name.startswith(".") and "\\" not in name
        if not plain or not name.endswith(suffix) or len(name.encode()) > LONGEST_NAME:
            raise CheckpointError(
                f"{index}: the index names a file outside the checkpoint's weights",
                found=repr(name)[:80],
                expected=f"names of {suffix} files in this folder",
                action="download the checkpoint again",
            )
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{model}: {len(missing)} weight shard(s) missing", found=_some(missing), action="download them"
        )
    beside = {path.name for path in folder.glob(f"{Path(single).stem}*{suffix}")} - set(names)
    if beside:
        raise CheckpointError(
            f"{model}: weights beside the index",
            found=f"{_some(beside)}, which {index.name} does not name",
            expected=f"{single} alone, or an index that names every shard",
            action="remove those that do not belong to the model",
        )
    return [folder / name for name in names]


def require_floats(paths: Iterable[Path], model: str) -> None:
    """Refuse weights that are integers or 8-bit floats: they mean something only with a method's scales.

    Positions and masks, which some models store beside their weights, may be integers.
    """
    owner: dict[str, Path] = {}
    for path in paths:
        for name, each in stored(path).items():
            if name in owner:
                raise CheckpointError(
                    f"{model}: a tensor in two files", found=f"{name} in {owner[name].name} and {path.name}"
                )
            owner[name] = path
            if each.dtype not in FLOATS and (each.dtype.startswith("F") or name.rpartition(".")[2].endswith("weight")):
                raise CheckpointError(
                    f"{model}: the weights are quantized",
                    found=f"{name} is {each.dtype} {each.shape}",
                    expected="float32, float16, bfloat16 or float64",
                    action="use the original checkpoint; --precision quantizes it",
                )


def _header(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > size - 8:
            raise CheckpointError(
                f"{path}: not a complete safetensors file",
                found=f"{size} bytes, header of {length} bytes announced",
                action="download it again",
            )
        content = file.read(length)
    return parse_json(content, dict[str, Any], CheckpointError, f"{path}: the safetensors header is damaged")


def _has_offsets(entry: Any) -> bool:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return isinstance(offsets, list) and len(offsets) == 2 and all(isinstance(each, int) for each in offsets)


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
