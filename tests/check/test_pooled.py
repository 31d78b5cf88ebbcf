"""Vectors of texts are judged by the checkpoint's own way of pooling them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from compiler.pooling import FILE
from compiler.records import Dense, Pooling, PoolingMode, Truncate
from tests.check.toy import HIDDEN, Toy, ToySession, checked, manifest


def dense(tmp_path: Path, scale: float = 1.0) -> Pooling:
    """The identity matrix, times `scale`, behind the mean."""
    (tmp_path / FILE).write_bytes((scale * np.eye(HIDDEN, dtype=np.float32)).tobytes())
    return Pooling(modules=(Dense(inputs=HIDDEN, outputs=HIDDEN, bias=False, activation="Identity"),))


@pytest.mark.parametrize("precision", ["float32", "int8-dynamic"])
@pytest.mark.parametrize("mode", ["cls", "max", "weightedmean", "mean_sqrt_len_tokens", "lasttoken"])
def test_another_pooling_than_the_checkpoints_fails(mode: PoolingMode, precision: str, tmp_path: Path) -> None:
    about = replace(manifest("encoder", precision), pooling=Pooling(modes=(mode,)))
    assert checked(ToySession(Toy()), about, tmp_path).reasons == ("pooling.max_relative_error",)
    assert checked(ToySession(Toy()), replace(about, pooling=Pooling()), tmp_path).passed


def test_modules_that_were_read_wrongly_fail(tmp_path: Path) -> None:
    about = manifest("encoder")
    assert checked(ToySession(Toy()), replace(about, pooling=dense(tmp_path)), tmp_path).passed
    scaled = checked(ToySession(Toy()), replace(about, pooling=dense(tmp_path, 1.001)), tmp_path)
    assert scaled.reasons == ("pooling.max_relative_error",)
    narrow = replace(about, pooling=Pooling(modules=(Truncate(width=5),)))
    assert checked(ToySession(Toy()), narrow, tmp_path).reasons == ("output.shape",)
