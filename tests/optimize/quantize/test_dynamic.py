from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.optimize.quantize.dynamic import QuantizeDynamic
from compiler.profile import Requires
from tests.optimize.graphs import ANY_X86, HERE, VNNI, context, graph, operators, random
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


@pytest.mark.parametrize(
    ("target", "top"),
    [(ANY_X86, 63), (VNNI, 127), (Requires(architecture="aarch64"), 127)],
    ids=["x86", "x86 with VNNI", "Arm"],
)
def test_weights_have_as_many_bits_as_the_target_multiplies_exactly(target: Requires, top: int) -> None:
    model = graph(ONE, w=random(32, 48, seed=1))
    QuantizeDynamic().apply(model, context(target=target))
    codes = weights(model)["w.int8"]
    assert codes.dtype == np.int8
    assert np.abs(codes).max() == top


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


def test_products_in_a_row_are_all_replaced() -> None:
    model = graph(
        """g (float[batch, sequence, 32] x, float[32, 48] w, float[48, 32] v) => (float[batch, sequence, 32] y) {
            hidden = MatMul(x, w)
            y = MatMul(hidden, v)
        }""",
        w=random(32, 48, seed=1),
        v=random(48, 32, seed=2),
    )
    assert error(QuantizeDynamic(), model, {"x": X}) < 0.05
    assert operators(model) == {"DynamicQuantizeMatMul": 2}


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_is_a_product_too(transposed: int) -> None:
    weight = random(32, 48, seed=1)
    shape = "48, 32" if transposed else "32, 48"
    model = graph(
        f"""g (float[batch, 32] x, float[{shape}] w, float[48] b) => (float[batch, 48] y) {{
            y = Gemm <transB: int = {transposed}> (x, w, b)
        }}""",
        w=np.ascontiguousarray(weight.T) if transposed else weight,
        b=random(48, seed=2),
    )
    assert error(QuantizeDynamic(), model, {"x": X[0]}) < 0.03
    assert operators(model) == {"DynamicQuantizeMatMul": 1}


def test_the_module_of_a_product_is_kept() -> None:
    model = graph(ONE, w=random(32, 48, seed=1))
    next(iter(model.graph)).metadata_props["module"] = "layers.0.mlp"
    QuantizeDynamic().apply(model, context())
    assert {node.metadata_props["module"] for node in model.graph} == {"layers.0.mlp"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("g (float[b, 5, 32] x, float[b, 32, 5] w) => (float[b, 5, 5] y) { y = MatMul(x, w) }", ()),
        ("g (float[b, 5, 32] x, float[32, 8] w) => (float[b, 5, 8] y) { y = MatMul(x, w) }", ("w",)),
        ("g (float[5, 32] x, float[32, 48] w) => (float[5, 48] y) { y = Gemm <alpha: float = 2.0> (x, w) }", ("w",)),
    ],
    ids=["two activations", "too few columns", "a scaled Gemm"],
)
def test_what_is_no_plain_product_with_a_weight_is_left_alone(text: str, names: tuple[str, ...]) -> None:
    shapes = {"w": (32, 8) if "32, 8" in text else (32, 48)}
    model = graph(text, **{name: random(*shapes[name]) for name in names})
    before = operators(model)
    assert not QuantizeDynamic().apply(model, context())
    assert operators(model) == before
