"""ONNX files of a bundle, opened and run by the engine, and read for a comparison."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from compiler import bundle
from compiler.compare.precisions import module_precisions
from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.records import EngineOptions
from tests import models as tiny
from tests.fuzz.mutate import Cases, Dice, cut
from tests.fuzz.reader import Reader

OPTIONS = EngineOptions(threads=1, spinning=False)


def _files() -> Cases:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        tiny.encoder(Path(folder) / "model.onnx")
        valid = (Path(folder) / "model.onnx").read_bytes()

    def build(dice: Dice) -> bytes:
        """Mostly where the nodes are, at the beginning; the rest are weights."""
        head = 4000 if dice.below(4) else len(valid)
        return cut(valid[:head], dice, 1 + dice.below(3)) + valid[head:]

    return build


def _opened(folder: Path) -> Callable[[bytes], object]:
    path = tiny.encoder_bundle(folder / "bundle") / "model.onnx"
    manifest = bundle.read(path.parent)
    tokens = np.ones((1, 3), np.int64)
    feeds = {"input_ids": tokens, "attention_mask": tokens, "token_type_ids": tokens * 0}

    def run(content: bytes) -> object:
        path.write_bytes(content)
        with closing(OnnxRuntimeSession(path, OPTIONS)) as session:
            return session.run(feeds), module_precisions(path.parent, manifest)

    return run


READERS = (Reader("onnx", frozenset({7, 11}), _files(), _opened, cost=1.5),)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_graphs_are_refused(reader: Reader) -> None:
    reader.check()
