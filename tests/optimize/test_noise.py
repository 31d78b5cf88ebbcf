from __future__ import annotations

import numpy as np

from compiler.optimize.noise import EPSILON, perturbed
from tests.optimize.graphs import graph, random

WEIGHTS = {"w": random(8, 8), "scale": random(8, seed=1)}
TEXT = """g (float[batch, 8] x, float[8, 8] w, float[8] scale) => (float[batch, 8] y) {
    z = MatMul(x, w)
    y = Mul(z, scale)
}"""


def test_vectors_move_by_a_rounding_and_matrices_stay_shared() -> None:
    model = graph(TEXT, **WEIGHTS)
    before = {name: value.const_value for name, value in model.graph.initializers.items()}
    after = {name: value.const_value for name, value in perturbed(model, seed=0).graph.initializers.items()}
    assert after["w"] is before["w"]
    assert after["scale"] is not None
    moved = np.abs(after["scale"].numpy() / WEIGHTS["scale"] - 1)
    assert 0 < moved.max() <= 2 * EPSILON


def test_the_original_stays_as_it_was() -> None:
    model = graph(TEXT, **WEIGHTS)
    perturbed(model, seed=0)
    scale = model.graph.initializers["scale"].const_value
    assert scale is not None
    np.testing.assert_array_equal(scale.numpy(), WEIGHTS["scale"])
