from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from compiler.errors import PassError
from compiler.optimize.passes import Context
from compiler.optimize.quantize.static import QuantizeStatic
from tests.optimize.graphs import exported, graph, operators, random
from tests.optimize.quantize.lossy import error

X = random(2, 5, 32)
TWO = """g (float[batch, sequence, 32] x, float[32, 48] w, float[48] b, float[48, 32] v)
    => (float[batch, sequence, 32] y) {
    product = MatMul(x, w)
    hidden = Add(product, b)
    active = Relu(hidden)
    y = MatMul(active, v)
}"""


def model() -> ir.Model:
    return graph(TWO, w=random(32, 48, seed=1), b=random(48, seed=2), v=random(48, 32, seed=3))


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_products_get_scales_from_calibration(method: str, per_channel: bool) -> None:
    rewritten = model()
    pass_ = QuantizeStatic(method=method, per_channel=per_channel)  # type: ignore[arg-type]
    calibration = [{"x": random(20, 50, 32, seed=seed)} for seed in range(4)]
    assert error(pass_, rewritten, {"x": X}, calibration) < 0.06
    assert operators(rewritten) == {"QuantizeLinear": 2, "DequantizeLinear": 4, "MatMul": 2, "Add": 1, "Relu": 1}


def test_the_engine_fuses_the_pairs_to_int8_kernels(tmp_path: object) -> None:
    rewritten = model()
    error(QuantizeStatic(), rewritten, {"x": X})
    options = ort.SessionOptions()
    options.optimized_model_filepath = f"{tmp_path}/fused.onnx"
    options.log_severity_level = 3
    ort.InferenceSession(ir.to_proto(rewritten).SerializeToString(), options, providers=["CPUExecutionProvider"])
    fused = operators(ir.load(options.optimized_model_filepath))
    assert fused["MatMulIntegerToFloat"] == 2
    assert fused["MatMul"] == 0


def test_siblings_share_one_pair() -> None:
    siblings = graph(
        """g (float[batch, sequence, 32] x, float[32, 48] w, float[32, 16] v)
            => (float[batch, sequence, 48] y, float[batch, sequence, 16] z) {
            y = MatMul(x, w)
            z = MatMul(x, v)
        }""",
        w=random(32, 48, seed=1),
        v=random(32, 16, seed=2),
    )
    assert error(QuantizeStatic(method="minmax"), siblings, {"x": X}) < 0.03
    assert operators(siblings) == {"QuantizeLinear": 1, "DequantizeLinear": 3, "MatMul": 2}


def test_padding_takes_no_part_in_calibration() -> None:
    padded = X.copy()
    padded[1, 3:] = 1000
    mask = np.ones((2, 5), np.int64)
    mask[1, 3:] = 0
    rewritten = model()
    feeds = [{"x": padded, "attention_mask": mask}]
    QuantizeStatic(method="minmax").apply(rewritten, Context(exported(), lambda: feeds))
    scale = rewritten.graph.initializers["x.scale"].const_value
    assert scale is not None
    assert scale.numpy() < 0.1


def test_products_of_two_activations_are_left_alone() -> None:
    attention = graph("g (float[b, 5, 32] x, float[b, 32, 5] z) => (float[b, 5, 5] y) { y = MatMul(x, z) }")
    assert not QuantizeStatic().apply(attention, Context(exported(), list))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(PassError, match="minmax, percentile, entropy"):
        QuantizeStatic(method="median").apply(model(), Context(exported(), list))  # type: ignore[arg-type]
