from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.optimize.quantize.dynamic import QuantizeDynamic
from compiler.records import Requires
from tests.optimize.graphs import ANY_X86, HERE, context, graph, operators, random
from tests.optimize.quantize.lossy import error

X = random(2, 5, 32)
ONE = """g (float[batch, sequence, 32] x, float[32, 48] w) => (float[batch, sequence, 48] y) {
    y = MatMul(x, w)
}"""


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}


@pytest.mark.parametrize("target", [HERE, ANY_X86], ids=["for this machine", "for any x86"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_product_becomes_one_int8_kernel(per_channel: bool, target: Requires) -> None:
    model = graph(ONE, w=random(32, 48, seed=1))
    assert error(QuantizeDynamic(per_channel=per_channel), model, {"x": X}, target=target) < 0.03
    assert operators(model) == {"DynamicQuantizeMatMul": 1}


def test_one_scale_a_column_serves_columns_of_unequal_size_better() -> None:
    weight = random(32, 48, seed=1) * np.geomspace(1e-3, 1, 48, dtype=np.float32)
    small = (slice(None), slice(None), slice(0, 8))
    errors = {}
    for per_channel in (True, False):
        model = graph(ONE, w=weight)
        QuantizeDynamic(per_channel=per_channel).apply(model, context())
        scale = weights(model)["w.scale"]
        restored = weights(model)["w.int8"] * scale
        errors[per_channel] = np.abs((X @ restored - X @ weight)[small]).max()
    assert errors[True] < errors[False] / 10


def test_the_bias_goes_into_the_kernel() -> None:
    model = graph(
        """g (float[batch, sequence, 32] x, float[32, 48] w, float[48] b) => (float[batch, sequence, 48] y) {
            product = MatMul(x, w)
            y = Add(product, b)
        }""",
        w=random(32, 48, seed=1),
        b=random(48, seed=2),
    )
    assert error(QuantizeDynamic(), model, {"x": X}) < 0.03
    assert operators(model) == {"DynamicQuantizeMatMul": 1}


def test_siblings_share_one_quantized_input() -> None:
    model = graph(
        """g (float[batch, sequence, 32] x, float[32, 48] w, float[32, 16] v)
            => (float[batch, sequence, 48] y, float[batch, sequence, 16] z) {
            y = MatMul(x, w)
            z = MatMul(x, v)
        }""",
        w=random(32, 48, seed=1),
        v=random(32, 16, seed=2),
    )
    assert error(QuantizeDynamic(), model, {"x": X}) < 0.03
    assert operators(model) == {"DynamicQuantizeLinear": 1, "MatMulIntegerToFloat": 2}


def test_the_module_of_a_product_is_kept() -> None:
    model = graph(ONE, w=random(32, 48, seed=1))
    next(iter(model.graph)).metadata_props["module"] = "layers.0.mlp"
    QuantizeDynamic().apply(model, context())
    assert {node.metadata_props["module"] for node in model.graph} == {"layers.0.mlp"}
