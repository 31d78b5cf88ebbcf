"""What tests of damaged checkpoints share: a copy that may be changed, and a cache of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny encoder that a test may damage."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "model"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache of one test."""
    return tmp_path / "cache"
