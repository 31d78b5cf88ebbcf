from __future__ import annotations

import pytest

from compiler.optimize.passes.fuse_silu import FuseSilu
from tests.optimize.graphs import apply, graph, operators, random

X = random(2, 3, 8)


@pytest.mark.parametrize("factors", ["x, gate", "gate, x"])
def test_a_gated_input_becomes_one_kernel(factors: str) -> None:
    model = graph(
        f"""g (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y) {{
            gate = Sigmoid(x)
            y = Mul({factors})
        }}"""
    )
    assert apply(FuseSilu(), model, {"x": X})
    assert operators(model) == {"QuickGelu": 1}


def test_a_gate_of_something_else_is_left_alone() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x, float[batch, sequence, 8] z) => (float[batch, sequence, 8] y) {
            gate = Sigmoid(z)
            y = Mul(x, gate)
        }"""
    )
    assert not apply(FuseSilu(), model, {"x": X, "z": random(2, 3, 8, seed=1)})
    assert operators(model) == {"Sigmoid": 1, "Mul": 1}


def test_a_gate_with_another_reader_is_left_alone() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y, float[batch, sequence, 8] gate) {
            gate = Sigmoid(x)
            y = Mul(x, gate)
        }"""
    )
    assert not apply(FuseSilu(), model, {"x": X})
