"""Shipped profiles, also with another engine in the place of their own."""

from __future__ import annotations

import re
from pathlib import Path

from compiler import profile

CUDA, PRECISION = "nvidia-onnxruntime", "float16"


def with_engine(shipped: str, engine: str, folder: Path) -> Path:
    """A shipped profile, written to `folder` with this engine."""
    text = profile.find(shipped).read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    changed = folder / f"{shipped}-{engine}.toml"
    changed.write_text(re.sub(r'(?m)^engine = ".*"$', f'engine = "{engine}"', text), encoding="utf-8")
    return changed
