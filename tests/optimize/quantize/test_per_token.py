from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize.passes import Pass
from compiler.optimize.passes.fuse_gelu import FuseGelu
from compiler.optimize.quantize.dynamic import QuantizeDynamic
from compiler.optimize.quantize.per_token import QuantizePerToken
from compiler.records import Requires
from tests.optimize.graphs import ANY_X86, HERE, context, graph, operators, outputs, random
from tests.optimize.quantize.lossy import error

X = random(2, 5, 32)
ONE = """g (float[batch, sequence, 32] x, float[32, 48] w) => (float[batch, sequence, 48] y) {
    y = MatMul(x, w)
}"""
SIBLINGS = """g (float[batch, sequence, 32] x, float[32, 48] w, float[32, 16] v)
    => (float[batch, sequence, 48] y, float[batch, sequence, 16] z) {
    y = MatMul(x, w)
    z = MatMul(x, v)
}"""
ROWS = {"Abs": 1, "ReduceMax": 1, "Max": 1, "Reciprocal": 1, "QuantizeLinear": 1}  # and a Mul
PRODUCT = {"MatMulIntegerToFloat": 1}  # and a Mul


def one() -> ir.Model:
    return graph(ONE, w=random(32, 48, seed=1))


def apply(pass_: Pass, model: ir.Model, target: Requires = HERE) -> None:
    assert pass_.apply(model, context(target=target))
    RemoveUnusedNodesPass()(model)


def codes(model: ir.Model) -> np.ndarray:
    weight = model.graph.initializers["w.int8"].const_value
    assert weight is not None
    return weight.numpy()


@pytest.mark.parametrize("target", [HERE, ANY_X86], ids=["for this machine", "for any x86"])
def test_a_product_becomes_an_int8_kernel_between_standard_operators(target: Requires) -> None:
    model = one()
    assert error(QuantizePerToken(), model, {"x": X}, target=target) < 0.03
    assert operators(model) == {**ROWS, **PRODUCT, "Mul": 2}


def test_the_numbers_are_those_of_the_formula() -> None:
    weight = random(32, 48, seed=1)
    model = graph(ONE, w=weight)
    apply(QuantizePerToken(), model, ANY_X86)
    largest = np.abs(X).max(axis=-1, keepdims=True)
    step = np.abs(weight).max(axis=0) / 63
    expected = (np.rint(X / largest * 127) / 127) @ (np.rint(weight / step) * step) * largest
    np.testing.assert_allclose(outputs(model, {"x": X})["y"], expected, rtol=1e-5, atol=1e-5)


def test_a_row_does_not_depend_on_its_company() -> None:
    model = one()
    apply(QuantizePerToken(), model)
    loud = np.concatenate([X, 1000 * X])
    np.testing.assert_array_equal(outputs(model, {"x": loud})["y"][:2], outputs(model, {"x": X})["y"])
    np.testing.assert_array_equal(outputs(model, {"x": X[:1, 2:3]})["y"], outputs(model, {"x": X})["y"][:1, 2:3])


def test_a_loud_row_costs_the_others_nothing() -> None:
    loud, weight = X.copy(), random(32, 48, seed=1)
    loud[1, 4] *= 40
    exact, errors = X @ weight, {}
    for pass_ in (QuantizePerToken(), QuantizeDynamic()):
        model = graph(ONE, w=weight)
        apply(pass_, model)
        errors[pass_.name] = np.abs(outputs(model, {"x": loud})["y"] - exact)[0].max() / np.abs(exact[0]).max()
    assert errors["quantize-per-token"] < 0.03
    assert errors["quantize-dynamic"] > 0.2


@pytest.mark.parametrize("row", [0, 1e-38, 1e-30, 1e30], ids=str)
def test_rows_of_every_size(row: float) -> None:
    model = one()
    sized = X.copy()
    sized[0, 1] = X[0, 1] * np.float32(row)
    expected = sized @ random(32, 48, seed=1)
    apply(QuantizePerToken(), model)
    found = outputs(model, {"x": sized})["y"]
    scale = np.abs(expected).max(axis=-1, keepdims=True) + (expected == 0)
    assert np.abs((found - expected) / scale).max() < 0.03


def test_siblings_share_one_quantized_input() -> None:
    model = graph(SIBLINGS, w=random(32, 48, seed=1), v=random(32, 16, seed=2))
    assert error(QuantizePerToken(), model, {"x": X}) < 0.03
    assert operators(model) == {**ROWS, "MatMulIntegerToFloat": 2, "Mul": 3}


def test_a_bias_is_left_to_the_gelu_behind_it() -> None:
    model = graph(
        """g (float[batch, sequence, 32] x, float[32, 48] w, float[48] b) => (float[batch, sequence, 48] y) {
            product = MatMul(x, w)
            biased = Add(b, product)
            y = Gelu(biased)
        }""",
        w=random(32, 48, seed=1),
        b=10 * random(48, seed=2),
    )
    assert error(QuantizePerToken(), model, {"x": X}) < 0.03
    assert operators(model) == {**ROWS, **PRODUCT, "Mul": 2, "Add": 1, "Gelu": 1}
    assert FuseGelu().apply(model, context())
    assert operators(model)["BiasGelu"] == 1
    assert operators(model)["Add"] == 0


def test_the_modules_of_products_are_kept() -> None:
    model = graph(SIBLINGS, w=random(32, 48, seed=1), v=random(32, 16, seed=2))
    for node, module in zip(model.graph, ("q", "k"), strict=True):
        node.metadata_props["module"] = module
    apply(QuantizePerToken(), model)
    products = [node for node in model.graph if node.op_type == "MatMulIntegerToFloat"]
    assert [node.metadata_props["module"] for node in products] == ["q", "k"]
    assert all(node.metadata_props["module"] for node in model.graph)


def test_an_outlier_channel_seen_in_calibration_is_made_quieter() -> None:
    outlier = np.ones(32, np.float32)
    outlier[5] = 60
    calibration = [{"x": random(20, 50, 32, seed=seed) * outlier} for seed in range(4)]
    model = graph(ONE, w=random(32, 48, seed=1) / outlier[:, None])
    assert error(QuantizePerToken(), model, {"x": X * outlier}, calibration) < 0.03
    assert operators(model) == {**ROWS, **PRODUCT, "Mul": 3}
    unseen = graph(ONE, w=random(32, 48, seed=1) / outlier[:, None])
    assert error(QuantizePerToken(), unseen, {"x": X * outlier}, [{"x": X}]) > 0.1
    assert operators(unseen) == {**ROWS, **PRODUCT, "Mul": 2}


def test_a_weight_that_layers_share_is_stored_once() -> None:
    outlier = np.ones(32, np.float32)
    outlier[5] = 60
    model = graph(
        """g (float[batch, sequence, 32] x, float[32, 32] w) => (float[batch, sequence, 32] z) {
            y = MatMul(x, w)
            active = Relu(y)
            z = MatMul(active, w)
        }""",
        w=random(32, 32, seed=1),
    )
    error(QuantizePerToken(), model, {"x": X * outlier})
    weights = [value.const_value for value in model.graph.initializers.values() if list(value.shape or ()) == [32, 32]]
    assert [weight.name for weight in weights if weight is not None] == ["w.int8"]
