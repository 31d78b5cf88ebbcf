from __future__ import annotations

import pytest

from compiler.optimize.passes.fuse_gelu import FuseGelu
from tests.optimize.graphs import apply, graph, operators, random

X = random(2, 3, 8)
BIAS = random(8, seed=1)


@pytest.mark.parametrize(("form", "kernel"), [("none", "BiasGelu"), ("tanh", "FastGelu")])
@pytest.mark.parametrize("addends", ["x, bias", "bias, x"])
def test_bias_and_gelu_become_one_kernel(form: str, kernel: str, addends: str) -> None:
    model = graph(
        f"""g (float[batch, sequence, 8] x, float[8] bias) => (float[batch, sequence, 8] y) {{
            sum = Add({addends})
            y = Gelu <approximate = "{form}"> (sum)
        }}""",
        bias=BIAS,
    )
    assert apply(FuseGelu(), model, {"x": X})
    assert operators(model) == {kernel: 1}


def test_a_bias_with_another_reader_is_left_alone() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x, float[8] bias) => (float[batch, sequence, 8] y) {
            sum = Add(x, bias)
            gelu = Gelu(sum)
            y = Mul(gelu, sum)
        }""",
        bias=BIAS,
    )
    assert not apply(FuseGelu(), model, {"x": X})
    assert operators(model) == {"Add": 1, "Gelu": 1, "Mul": 1}


def test_an_addend_that_varies_is_no_bias() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x, float[8] bias) => (float[batch, sequence, 8] y) {
            sum = Add(x, bias)
            y = Gelu(sum)
        }"""
    )
    assert not apply(FuseGelu(), model, {"x": X, "bias": BIAS})
