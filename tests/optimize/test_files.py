from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compiler.errors import IntegrityError, StorageError
from compiler.optimize.files import load, save
from tests.optimize.graphs import graph, random

W = random(32, 32)


def product() -> ir.Model:
    return graph("g (float[batch, 32] x, float[32, 32] w) => (float[batch, 32] y) { y = MatMul(x, w) }", w=W)


def test_what_was_saved_loads_with_its_weights_still_on_disk(tmp_path: Path) -> None:
    save(product(), tmp_path / "model.onnx")
    weight = load(tmp_path / "model.onnx").graph.initializers["w"].const_value
    assert isinstance(weight, ir.ExternalTensor)
    np.testing.assert_array_equal(weight.numpy(), W)


@pytest.mark.parametrize("content", [None, b"no protobuf"], ids=["missing", "damaged"])
def test_what_is_no_model_is_an_error_that_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        load(path)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"model\.onnx"):
        save(product(), tmp_path / "file" / "model.onnx")
