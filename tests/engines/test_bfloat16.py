"""bfloat16 on a CPU: a model that ONNX Runtime has no kernels for runs, its weights and casts rounded."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.engines.bfloat16 import in_float32
from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.records import EngineOptions

WEIGHT = np.random.default_rng(0).standard_normal((8, 8)).astype(ml_dtypes.bfloat16)


def model() -> onnx.ModelProto:
    """x float32 -> bfloat16, times a bfloat16 weight, restored to float32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.BFLOAT16),
        helper.make_node("MatMul", ["narrow", "weight"], ["product"]),
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["restored"], output_dtype=TensorProto.BFLOAT16),
        helper.make_node("Add", ["product", "restored"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = [
        helper.make_tensor("weight", TensorProto.BFLOAT16, (8, 8), WEIGHT.tobytes(), raw=True),
        helper.make_tensor("scale", TensorProto.BFLOAT16, (), np.array(0.5, ml_dtypes.bfloat16).tobytes(), raw=True),
        numpy_helper.from_array(np.arange(8, dtype=np.int8), "codes"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 8)) for name in "xy"]
    inner = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ("n", 8)) for name in ("narrow", "product")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights, value_info=inner)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def test_it_runs_and_rounds_what_is_cast() -> None:
    subject = model()
    assert in_float32(subject)
    onnx.checker.check_model(subject, full_check=True)
    session = onnxruntime.InferenceSession(subject.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    (found,) = session.run(None, {"x": x})
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_allclose(found, rounded @ WEIGHT.astype(np.float32) + np.arange(8) / 2, rtol=1e-5, atol=1e-6)


def test_a_session_opens_it_as_it_lies_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model(), path, save_as_external_data=True, location="model.onnx.data", size_threshold=64)
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    with closing(OnnxRuntimeSession(path, EngineOptions(threads=1))) as session:
        found = session.run({"x": x})["y"]
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_allclose(found, rounded @ WEIGHT.astype(np.float32) + np.arange(8) / 2, rtol=1e-5, atol=1e-6)


def test_the_weights_stay_as_they_are_stored() -> None:
    subject = model()
    in_float32(subject)
    assert [weight.data_type for weight in subject.graph.initializer] == [
        TensorProto.BFLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.INT8,
    ]


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.FLOAT])
def test_a_model_without_bfloat16_is_left_alone(dtype: int) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=dtype)
    values = [
        helper.make_tensor_value_info(name, kind, ("n",)) for name, kind in (("x", TensorProto.FLOAT), ("y", dtype))
    ]
    subject = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]))
    before = subject.SerializeToString()
    assert not in_float32(subject)
    assert subject.SerializeToString() == before
