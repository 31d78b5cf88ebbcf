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


@pytest.mark.parametrize("half", ["0.5", "0.6"])
def test_the_tanh_form_is_recognised_where_it_is_written_out(half: str) -> None:
    model = graph(
        f"""g (float[batch, sequence, 8] x, float[8] bias) => (float[batch, sequence, 8] y) {{
            three = Constant <value_float = 3.0> ()
            small = Constant <value_float = 0.044715> ()
            root = Constant <value_float = 0.7978846> ()
            one = Constant <value_float = 1.0> ()
            half = Constant <value_float = {half}> ()
            sum = Add(x, bias)
            cube = Pow(sum, three)
            part = Mul(cube, small)
            inner = Add(sum, part)
            scaled = Mul(inner, root)
            bent = Tanh(scaled)
            raised = Add(bent, one)
            left = Mul(sum, half)
            y = Mul(left, raised)
        }}""",
        bias=BIAS,
    )
    assert apply(FuseGelu(), model, {"x": X}) == (half == "0.5")
    assert operators(model)["FastGelu"] == (half == "0.5")
