"""A bundle, its certificate and its page name the model, and say nothing of the folders it was built in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compiler import pipeline
from compiler.bundle import CERTIFICATE, MANIFEST
from compiler.errors import CheckpointError
from tests import peft_adapters


@pytest.fixture
def built(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Llama with an adapter compiled in, its paths and the cache below `tmp_path / "secret"`."""
    here = tmp_path / "secret"
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(here / "cache"))
    base = peft_adapters.llama(here / "checkpoints" / "llama")
    lora = peft_adapters.adapter(base, here / "adapters" / "lora", peft_adapters.lora("llama"))
    out = here / "out" / "bundle"
    return pipeline.build(
        str(base), adapters=[f"a={lora}"], profile="cpu-x86-avx2", precision="int8-weights", out=out, bench=False
    )


def test_no_file_of_a_bundle_holds_a_path_of_its_builder(built: Path, tmp_path: Path) -> None:
    files = [path for path in built.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        for secret in (tmp_path / "secret", Path.home(), Path.cwd()):
            assert f"{secret}/".encode() not in content, f"{path.name} holds {secret}"
    for name in (MANIFEST, CERTIFICATE):
        source = json.loads((built / name).read_bytes())["source"]
        assert source["name"] == "llama"
    assert "<title>pass: llama for cpu-x86-avx2</title>" in (built / "report.html").read_text(encoding="utf-8")


def test_a_bundle_is_checked_where_its_checkpoint_was_and_where_it_moved(built: Path, tmp_path: Path) -> None:
    assert pipeline.check(built).passed
    here = tmp_path / "secret"
    moved = Path(shutil.move(here / "checkpoints", tmp_path / "moved"))
    with pytest.raises(CheckpointError, match="--reference"):
        pipeline.check(built)
    assert pipeline.check(built, reference=str(moved / "llama"), adapters=[f"a={here / 'adapters' / 'lora'}"]).passed
