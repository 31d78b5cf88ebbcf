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


def constants(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}


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


@pytest.mark.parametrize(("format_", "limit"), [("uint8", 0.03), ("int8", 0.03), ("float8", 0.06)])
def test_siblings_share_one_pair(format_: str, limit: float) -> None:
    siblings = graph(
        """g (float[batch, sequence, 32] x, float[32, 48] w, float[32, 16] v)
            => (float[batch, sequence, 48] y, float[batch, sequence, 16] z) {
            y = MatMul(x, w)
            z = MatMul(x, v)
        }""",
        w=random(32, 48, seed=1),
        v=random(32, 16, seed=2),
    )
    assert error(QuantizeStatic(format=format_), siblings, {"x": X}) < limit  # type: ignore[arg-type]
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


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("format_", "limit"), [("int8", 0.06), ("float8", 0.09)])
def test_symmetric_formats(format_: str, limit: float, per_channel: bool, method: str) -> None:
    rewritten = model()
    pass_ = QuantizeStatic(format=format_, method=method, per_channel=per_channel)  # type: ignore[arg-type]
    calibration = [{"x": random(20, 50, 32, seed=seed)} for seed in range(4)]
    assert error(pass_, rewritten, {"x": X}, calibration) < limit
    assert operators(rewritten) == {"QuantizeLinear": 2, "DequantizeLinear": 4, "MatMul": 2, "Add": 1, "Relu": 1}
    assert pass_.formats == (format_,)
    weights = constants(rewritten)
    assert weights[f"w.{format_}"].dtype.name == {"int8": "int8", "float8": "float8_e4m3fn"}[format_]
    assert weights["w.scale"].shape == ((48,) if per_channel else ())
    assert weights["x.scale"].shape == ()
    for name in ("x.zero", "active.zero"):
        assert weights[name].dtype == weights[f"w.{format_}"].dtype
        assert weights[name] == 0


@pytest.mark.parametrize("format_", ["int8", "float8"])
def test_the_largest_magnitude_is_the_last_code(format_: str) -> None:
    rewritten = model()
    calibration = {"x": np.full((1, 1, 32), -4, np.float32)}
    QuantizeStatic(format=format_).apply(rewritten, Context(exported(), lambda: [calibration]))  # type: ignore[arg-type]
    top = {"int8": 127, "float8": 448}[format_]
    assert constants(rewritten)["x.scale"] == pytest.approx(4 / top, rel=1e-3)
    assert np.abs(constants(rewritten)[f"w.{format_}"].astype(np.float32)).max(axis=0) == pytest.approx(top)


@pytest.mark.parametrize("format_", ["int8", "float8"])
def test_scales_are_positive_in_float16(format_: str) -> None:
    """Of a column of zeros, of one that is all but zero, and of an activation that never moved."""
    weight = random(32, 48, seed=1)
    weight[:, 3], weight[:, 5] = 0, 1e-7
    rewritten = graph(TWO, w=weight, b=random(48, seed=2), v=random(48, 32, seed=3))
    still = {"x": np.zeros((1, 4, 32), np.float32)}
    QuantizeStatic(format=format_).apply(rewritten, Context(exported(), lambda: [still]))  # type: ignore[arg-type]
    for name in ("x.scale", "w.scale"):
        scale = constants(rewritten)[name]
        assert (scale > 0).all()
        np.testing.assert_array_equal(scale.astype(np.float16).astype(np.float32), scale)


def test_unsigned_activations_are_no_format_of_a_gpu() -> None:
    assert QuantizeStatic().formats == ()


def test_smoothing_spares_the_other_channels_an_outlier() -> None:
    outlier = np.ones(32, np.float32)
    outlier[5] = 60
    calibration = [{"x": random(20, 50, 32, seed=seed) * outlier} for seed in range(4)]
    errors = []
    for smooth in (True, False):
        weight = random(32, 48, seed=1) / outlier[:, None]
        rewritten = graph(TWO, w=weight, b=random(48, seed=2), v=random(48, 32, seed=3))
        errors.append(error(QuantizeStatic(format="int8", smooth=smooth), rewritten, {"x": X * outlier}, calibration))
        assert (operators(rewritten)["Mul"] > 0) == smooth
    assert errors[0] < 0.3 * errors[1]


def test_products_of_one_weight_are_smoothed_apart() -> None:
    rewritten = graph(
        """g (float[batch, sequence, 32] x, float[32, 32] w) => (float[batch, sequence, 32] z) {
            y = MatMul(x, w)
            active = Relu(y)
            z = MatMul(active, w)
        }""",
        w=random(32, 32, seed=1),
    )
    outlier = np.ones(32, np.float32)
    outlier[5] = 60
    assert error(QuantizeStatic(format="int8", smooth=True), rewritten, {"x": X * outlier}) < 0.06
    assert operators(rewritten)["Mul"] >= 1


def test_the_head_can_be_left_as_it_is() -> None:
    rewritten = model()
    assert error(QuantizeStatic(format="float8", head=False), rewritten, {"x": X}) < 0.06
    assert operators(rewritten) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "MatMul": 2, "Add": 1, "Relu": 1}
    assert "v" in rewritten.graph.initializers


@pytest.mark.parametrize("format_", ["uint8", "int8"])
def test_ranges_reach_as_far_as_rare_tokens(format_: str) -> None:
    feeds, rare = [{"x": random(20, 50, 32)}], [{"x": 3 * random(4, 50, 32, seed=1)}]
    scales = []
    for context in (Context(exported(), lambda: feeds), Context(exported(), lambda: feeds, rare=lambda: rare)):
        rewritten = model()
        QuantizeStatic(format=format_).apply(rewritten, context)  # type: ignore[arg-type]
        scales.append(constants(rewritten)["x.scale"])
    assert 2 < scales[1] / scales[0] < 4
