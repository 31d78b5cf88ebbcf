from __future__ import annotations

from pathlib import Path

import pytest

from compiler import pipeline
from tests import families


def built(checkpoint: Path, out: Path) -> Path:
    """The checkpoint's bundle in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(out.with_name("cache")))
        return pipeline.build(str(checkpoint), out=out, profile="cpu-x86-avx2", precision="float32", bench=False)


@pytest.fixture(scope="session")
def decoder_bundle(tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama's."""
    return built(tiny_decoder, tmp_path_factory.mktemp("evaluate") / "decoder")


@pytest.fixture(scope="session")
def translator_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random T5's."""
    folder = tmp_path_factory.mktemp("translator")
    row = families.family("t5", "text2text-generation")
    return built(families.checkpoint(row, folder / "checkpoint"), folder / "bundle")
