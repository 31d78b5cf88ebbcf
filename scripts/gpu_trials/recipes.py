"""Shipped profiles, also with another engine in the place of their own."""

from __future__ import annotations

from pathlib import Path

import tomli_w

from compiler import profile

CUDA, PRECISION = "nvidia-onnxruntime", "float16"


def with_engine(shipped: str, engine: str, folder: Path) -> Path:
    """A shipped profile, written to `folder` with this engine."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = folder / f"{shipped}-{engine}.toml"
    changed.write_bytes(tomli_w.dumps({**profile.read(profile.find(shipped)), "engine": engine}).encode())
    return changed
