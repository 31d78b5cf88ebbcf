"""Vet safetensors files by their headers, before anything large is read."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from compiler.errors import CheckpointError


def check_safetensors(path: Path) -> None:
    """Refuse a file whose header and size disagree (cut short, or not safetensors at all)."""
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
        try:
            header = json.loads(file.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: the safetensors header is damaged", found=str(error), action="download it again"
            ) from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise CheckpointError(
            f"{path}: the file is {'cut short' if size < expected else 'longer than its header says'}",
            found=f"{size} bytes",
            expected=f"{expected} bytes",
            action="download it again",
        )


def require_shards(folder: Path, model: str) -> None:
    """Refuse a folder that lacks a file its index names."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return
    missing = sorted(
        {name for name in json.loads(index.read_bytes())["weight_map"].values() if not (folder / name).exists()}
    )
    if missing:
        raise CheckpointError(
            f"{model}: {len(missing)} weight shard(s) missing", found=", ".join(missing[:3]), action="download them"
        )


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, from the header of a file that `check_safetensors` let pass."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    try:
        return {
            name: tuple(int(size) for size in entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the safetensors header is damaged", found=repr(error)) from error
