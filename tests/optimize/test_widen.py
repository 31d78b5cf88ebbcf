from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from compiler.optimize.execute import Executor
from compiler.optimize.quantize.weights_dq import QuantizeWeightsDq
from compiler.optimize.widen import widened
from tests.optimize.graphs import context, graph, operators, random

ONE = """g (float[batch, 64] x, float[64, 48] w) => (float[batch, 48] y) {
    product = MatMul(x, w)
    y = Relu(product)
}"""


def quantized(format_: str, **weights: np.ndarray) -> ir.Model:
    model = graph(ONE, **weights)
    assert QuantizeWeightsDq(format=format_, rounding="nearest").apply(model, context())  # type: ignore[arg-type]
    return model


def constants(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}


def test_a_float4_weight_becomes_the_numbers_it_stands_for() -> None:
    model = quantized("float4", w=random(64, 48))
    stored = constants(model)
    blocks = stored["w.float4"].astype(np.float32).reshape(4, 16, 48)
    scales = stored["w.scales"].astype(np.float32) * stored["w.scale"]
    plain = widened(model)
    assert operators(plain) == {"MatMul": 1, "Relu": 1}
    assert operators(model)["DequantizeLinear"] == 2
    (weight,) = constants(plain).values()
    np.testing.assert_array_equal(weight, (blocks * scales[:, None]).reshape(64, 48))


def test_a_weight_takes_the_type_of_its_scales() -> None:
    model = quantized("float4", w=random(64, 48))
    scale = model.graph.initializers["w.scale"]
    assert scale.const_value is not None
    scale.const_value = ir.tensor(scale.const_value.numpy().astype(np.float16), name="w.scale")
    (weight,) = constants(widened(model)).values()
    assert weight.dtype == np.float16
    (exact,) = constants(widened(quantized("float4", w=random(64, 48)))).values()
    np.testing.assert_array_equal(weight.astype(np.float32), exact)


@pytest.mark.parametrize("format_", ["int4", "int8"])
def test_what_onnxruntime_reads_is_left_alone(format_: str) -> None:
    model = quantized(format_, w=random(64, 48))
    assert widened(model) is model


def test_the_executor_runs_weights_of_types_that_numpy_lacks() -> None:
    """float4, and float8 and bfloat16 large enough to be handed over where they lie."""
    weight, x = random(64, 48), random(3, 64)
    expected = np.maximum(x @ weight, 0)
    for dtype, limit in ((ml_dtypes.bfloat16, 0.01), (ml_dtypes.float8_e4m3fn, 0.1)):
        model = graph(
            """g (float[batch, 64] x, float[64, 48] w) => (float[batch, 48] y) {
                wide = Cast <to = 1> (w)
                product = MatMul(x, wide)
                y = Relu(product)
            }""",
            w=weight,
        )
        model.graph.initializers["w"].const_value = ir.tensor(weight.astype(dtype), name="w")
        found = Executor().run(model, [{"x": x}])[0]["y"]
        assert np.abs(found - expected).max() / expected.max() < limit
    found = Executor().run(quantized("float4", w=weight), [{"x": x}])[0]["y"]
    assert np.abs(found - expected).max() / expected.max() < 0.2
