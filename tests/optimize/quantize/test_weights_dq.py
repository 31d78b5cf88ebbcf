from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from compiler.errors import PassError
from compiler.optimize.passes import Context
from compiler.optimize.quantize.weights_dq import QuantizeWeightsDq
from tests.optimize.graphs import context, exported, graph, operators, random
from tests.optimize.quantize.lossy import TIED, error

X = random(2, 5, 128)
ONE = """g (float[batch, sequence, 128] x, float[128, 48] w, float[48] b) => (float[batch, sequence, 48] y) {
    product = MatMul(x, w)
    total = Add(product, b)
    y = Relu(total)
}"""


def one() -> ir.Model:
    return graph(ONE, w=random(128, 48, seed=1), b=random(48, seed=2))


def formats(model: ir.Model) -> list[str]:
    """The format of every product's weight, in order."""
    weights = [node.inputs[1].producer() for node in model.graph if node.op_type == "MatMul"]  # type: ignore[union-attr]
    return [node.inputs[0].const_value.dtype.name for node in weights]  # type: ignore[union-attr]


def constants(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}


@pytest.mark.parametrize("rounding", ["nearest", "compensated"])
@pytest.mark.parametrize(
    ("options", "limit", "restoring"),
    [
        ({"format": "int8"}, 0.02, 1),
        ({"block_size": 32}, 0.15, 1),
        ({"block_size": 64}, 0.15, 1),
        ({"block_size": 128}, 0.15, 1),
        ({"format": "float4"}, 0.15, 2),
    ],
    ids=str,
)
def test_a_weight_is_restored_before_its_product(
    options: dict[str, object], limit: float, restoring: int, rounding: str
) -> None:
    model = one()
    assert error(QuantizeWeightsDq(**options, int8_share=0, rounding=rounding), model, {"x": X}) < limit  # type: ignore[arg-type]
    assert operators(model) == {"DequantizeLinear": restoring, "MatMul": 1, "Add": 1, "Relu": 1}
    assert "w" not in model.graph.initializers


@pytest.mark.parametrize("format_", ["int8", "int4", "float4"])
def test_scales_are_positive_in_float16(format_: str) -> None:
    """Also those of zeros, and of numbers that are all but zero."""
    weight = random(128, 48, seed=1)
    weight[:64, 3], weight[64:, 3], weight[:, 5] = 0, 1e-7, 1e-7
    model = graph(ONE, w=weight, b=random(48, seed=2))
    QuantizeWeightsDq(format=format_, rounding="nearest").apply(model, context())  # type: ignore[arg-type]
    scales = [array.astype(np.float32) for name, array in constants(model).items() if "scale" in name]
    assert all((scale > 0).all() for scale in scales)
    for scale in scales:
        np.testing.assert_array_equal(scale.astype(np.float16).astype(np.float32), scale)


@pytest.mark.parametrize(("head_bits", "expected"), [(8, ["INT4", "INT8"]), (4, ["INT4", "INT4"])])
def test_a_tied_head_leaves_its_table_alone(head_bits: int, expected: list[str]) -> None:
    table = random(40, 64, seed=1)
    model = graph(TIED, table=table, w=random(64, 64, seed=2))
    pass_ = QuantizeWeightsDq(head_bits=head_bits, rounding="nearest")  # type: ignore[arg-type]
    assert error(pass_, model, {"ids": np.array([[0, 39, 7, 7, 21]])}) < 0.3
    assert formats(model) == expected
    np.testing.assert_array_equal(constants(model)["table"], table)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, ["INT4", "INT4", "INT4"]), (0.4, ["INT4", "INT8", "INT4"]), (1, ["INT8", "INT8", "INT8"])],
    ids=str,
)
def test_a_share_of_the_weights_keeps_eight_bits(share: float, expected: list[str]) -> None:
    model = graph(
        """g (float[batch, 64] x, float[64, 128] up, float[128, 64] down, float[64, 64] out)
            => (float[batch, 64] y) {
            a = MatMul(x, up)
            active = Relu(a)
            b = MatMul(active, down)
            c = MatMul(b, out)
            y = Relu(c)
        }""",
        up=random(64, 128, seed=1),
        down=random(128, 64, seed=2),
        out=random(64, 64, seed=3),
    )
    pass_ = QuantizeWeightsDq(int8_share=share)
    assert pass_.apply(model, Context(exported(), lambda: [{"x": random(50, 64)}]))
    assert formats(model) == expected


def test_rows_that_are_not_whole_blocks_get_eight_bits() -> None:
    text = "g (float[batch, 72] x, float[72, 48] w) => (float[batch, 48] y) { z = MatMul(x, w)\n y = Relu(z) }"
    for format_ in ("int4", "float4"):
        model = graph(text, w=random(72, 48))
        assert error(QuantizeWeightsDq(format=format_), model, {"x": random(3, 72)}) < 0.02  # type: ignore[arg-type]
        assert formats(model) == ["INT8"]


def test_products_with_one_weight_share_what_restores_it() -> None:
    model = graph(
        """g (float[batch, 64] x, float[64, 64] w) => (float[batch, 64] y) {
            first = MatMul(x, w)
            active = Relu(first)
            second = MatMul(active, w)
            y = Relu(second)
        }""",
        w=random(64, 64, seed=1),
    )
    assert error(QuantizeWeightsDq(), model, {"x": X[0, :, :64]}) < 0.3
    assert operators(model)["DequantizeLinear"] == 1


def test_calibration_lowers_the_error_on_other_inputs() -> None:
    mix = random(8, 128, seed=5)

    def inputs(seed: int) -> np.ndarray:
        return random(4, 50, 8, seed=seed) @ mix + random(4, 50, 128, seed=seed + 1) / 10

    feeds = [{"x": inputs(10)}, {"x": inputs(20)}]
    for format_ in ("int4", "float4"):
        changes = [
            error(QuantizeWeightsDq(format=format_, rounding=rounding), one(), {"x": inputs(30)}, feeds)  # type: ignore[arg-type]
            for rounding in ("compensated", "nearest")
        ]
        assert changes[0] < 0.7 * changes[1]


def test_the_engine_fuses_int4_to_its_own_kernel(tmp_path: object) -> None:
    model = one()
    QuantizeWeightsDq(rounding="nearest").apply(model, context())
    options = ort.SessionOptions()
    options.optimized_model_filepath = f"{tmp_path}/fused.onnx"
    options.log_severity_level = 3
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert operators(ir.load(options.optimized_model_filepath))["MatMulNBits"] == 1


def test_formats_name_what_a_device_must_have() -> None:
    assert {name: QuantizeWeightsDq(format=name).formats for name in ("int8", "int4", "float4")} == {  # type: ignore[arg-type]
        "int8": ("int8",),
        "int4": ("int4", "int8"),
        "float4": ("float4", "float8", "int8"),
    }


def test_an_older_opset_is_refused() -> None:
    model = one()
    model.opset_imports[""] = 20
    with pytest.raises(PassError, match="opset 21 or later"):
        QuantizeWeightsDq().apply(model, context())


def test_products_of_two_activations_are_left_alone() -> None:
    attention = graph("g (float[b, 5, 32] x, float[b, 32, 5] z) => (float[b, 5, 5] y) { y = MatMul(x, z) }")
    assert not QuantizeWeightsDq().apply(attention, context())


def test_the_module_of_a_product_is_kept() -> None:
    model = one()
    next(iter(model.graph)).metadata_props["module"] = "layers.0.mlp"
    QuantizeWeightsDq(format="float4", rounding="nearest").apply(model, context())
    assert [node.metadata_props.get("module") for node in model.graph][:3] == ["layers.0.mlp"] * 3


@pytest.mark.parametrize("format_", ["int8", "int4", "float4"])
def test_the_same_model_gives_the_same_bytes(format_: str) -> None:
    made = []
    for _ in range(2):
        model = one()
        QuantizeWeightsDq(format=format_).apply(model, Context(exported(), lambda: [{"x": X}]))  # type: ignore[arg-type]
        made.append(ir.to_proto(model).SerializeToString())
    assert made[0] == made[1]
