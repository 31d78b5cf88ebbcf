from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.quantize import moments
from compiler.optimize.quantize.products import products
from tests.optimize.graphs import graph, outputs, random

CHAIN = """g (float[batch, sequence, 32] x, float[32, 48] w, float[32, 16] v, float[48, 32] u)
    => (float[batch, sequence, 32] y, float[batch, sequence, 16] z) {
    hidden = MatMul(x, w)
    z = MatMul(x, v)
    y = MatMul(hidden, u)
}"""


@pytest.mark.parametrize("limit", [moments.BYTES_AT_ONCE, 1], ids=["all at once", "one source at a time"])
def test_moments_are_summed_over_feeds_without_padding(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "BYTES_AT_ONCE", limit)
    arrays = {"w": random(32, 48, seed=1), "v": random(32, 16, seed=2), "u": random(48, 32, seed=3)}
    model = graph(CHAIN, **arrays)
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    feeds = [{"x": random(2, 3, 32, seed=seed), "attention_mask": mask} for seed in (4, 5)]
    found = {product.name: array for product, array in moments.second_moments(model, products(model), feeds)}
    real = np.concatenate([feed["x"][mask.astype(bool)] for feed in feeds])
    hidden = real @ arrays["w"]
    np.testing.assert_allclose(found["w"], real.T @ real, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["v"], found["w"])
    np.testing.assert_allclose(found["u"], hidden.T @ hidden, rtol=1e-4, atol=1e-2)


def test_the_graph_is_left_as_it_was() -> None:
    model = graph(CHAIN, w=random(32, 48, seed=1), v=random(32, 16, seed=2), u=random(48, 32, seed=3))
    feed = {"x": random(2, 3, 32)}
    before = outputs(model, feed)
    list(moments.second_moments(model, products(model), [feed]))
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    np.testing.assert_array_equal(outputs(model, feed)["y"], before["y"])
