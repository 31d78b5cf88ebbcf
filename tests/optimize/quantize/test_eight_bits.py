"""What holds for every pass that multiplies in 8 bits with scales found at run time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize.passes import Pass
from compiler.optimize.quantize.dynamic import QuantizeDynamic
from compiler.optimize.quantize.per_token import QuantizePerToken
from compiler.records import Requires
from tests.optimize.graphs import ANY_X86, VNNI, context, graph, operators, random
from tests.optimize.quantize.lossy import error

X = random(2, 5, 32)
ROWS = Counter({"Abs": 1, "ReduceMax": 1, "Max": 1, "Reciprocal": 1, "QuantizeLinear": 1, "Mul": 1})
PER_TOKEN = Counter({**ROWS, "MatMulIntegerToFloat": 1, "Mul": 2})
both = pytest.mark.parametrize(
    ("pass_", "product", "bias"),
    [
        pytest.param(QuantizeDynamic(), Counter({"DynamicQuantizeMatMul": 1}), Counter[str](), id="dynamic"),
        pytest.param(QuantizePerToken(), PER_TOKEN, Counter({"Add": 1}), id="per token"),
    ],
)


@both
@pytest.mark.parametrize(
    ("target", "top"),
    [(ANY_X86, 63), (VNNI, 127), (Requires(architecture="aarch64"), 127)],
    ids=["x86", "x86 with VNNI", "Arm"],
)
def test_weights_have_as_many_bits_as_the_target_multiplies_exactly(
    pass_: Pass, product: Counter[str], bias: Counter[str], target: Requires, top: int
) -> None:
    model = graph(
        "g (float[b, s, 32] x, float[32, 48] w) => (float[b, s, 48] y) { y = MatMul(x, w) }", w=random(32, 48, seed=1)
    )
    assert pass_.apply(model, context(target=target))
    RemoveUnusedNodesPass()(model)
    codes = model.graph.initializers["w.int8"].const_value
    assert codes is not None
    assert codes.numpy().dtype == np.int8
    assert np.abs(codes.numpy()).max() == top


@both
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_is_a_product_too(pass_: Pass, product: Counter[str], bias: Counter[str], transposed: int) -> None:
    weight = random(32, 48, seed=1)
    shape = "48, 32" if transposed else "32, 48"
    model = graph(
        f"""g (float[batch, 32] x, float[{shape}] w, float[48] b) => (float[batch, 48] y) {{
            y = Gemm <transB: int = {transposed}> (x, w, b)
        }}""",
        w=np.ascontiguousarray(weight.T) if transposed else weight,
        b=random(48, seed=2),
    )
    assert error(pass_, model, {"x": X[0]}) < 0.03
    assert operators(model) == product + bias


@both
def test_products_in_a_row_are_all_replaced(pass_: Pass, product: Counter[str], bias: Counter[str]) -> None:
    model = graph(
        """g (float[batch, sequence, 32] x, float[32, 48] w, float[48, 32] v) => (float[batch, sequence, 32] y) {
            hidden = MatMul(x, w)
            y = MatMul(hidden, v)
        }""",
        w=random(32, 48, seed=1),
        v=random(48, 32, seed=2),
    )
    assert error(pass_, model, {"x": X}) < 0.05
    assert operators(model) == product + product


@both
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("g (float[b, 5, 32] x, float[b, 32, 5] w) => (float[b, 5, 5] y) { y = MatMul(x, w) }", ()),
        ("g (float[b, 5, 32] x, float[32, 8] w) => (float[b, 5, 8] y) { y = MatMul(x, w) }", ("w",)),
        ("g (float[5, 32] x, float[32, 48] w) => (float[5, 48] y) { y = Gemm <alpha: float = 2.0> (x, w) }", ("w",)),
    ],
    ids=["two activations", "too few columns", "a scaled Gemm"],
)
def test_what_is_no_plain_product_with_a_weight_is_left_alone(
    pass_: Pass, product: Counter[str], bias: Counter[str], text: str, names: tuple[str, ...]
) -> None:
    shapes = {"w": (32, 8) if "32, 8" in text else (32, 48)}
    model = graph(text, **{name: random(*shapes[name]) for name in names})
    before = operators(model)
    assert not pass_.apply(model, context())
    assert operators(model) == before
    assert len(model.graph.initializers) == len(names)
