"""What the shipped CPU profiles do to a row of numbers must not depend on the rows beside it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler import profile
from compiler.optimize.passes import PASSES, Context
from compiler.profile import KINDS
from tests.optimize.graphs import HERE, exported, graph, outputs, random

RECIPES = [
    (name, kind, precision)
    for name in [each.name for each in profile.ranked() if not each.requires.gpu]
    for kind in KINDS
    for precision in profile.load(name).recipe(kind).precisions  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("name", "kind", "precision"), RECIPES)
def test_a_row_is_the_same_alone_and_beside_a_loud_one(name: str, kind: str, precision: str) -> None:
    model = graph(
        """g (float[batch, sequence, 32] x, float[32, 64] w, float[64] b, float[64, 32] v, float[64, 32] u)
            => (float[batch, sequence, 32] y, float[batch, sequence, 32] z) {
            product = MatMul(x, w)
            biased = Add(product, b)
            active = Gelu(biased)
            y = MatMul(active, v)
            z = MatMul(active, u)
        }""",
        w=random(32, 64, seed=1),
        b=random(64, seed=2),
        v=random(64, 32, seed=3),
        u=random(64, 32, seed=4),
    )
    quiet = random(1, 5, 32)
    recipe = profile.load(name).recipe(kind)  # type: ignore[arg-type]
    context = Context(exported(), lambda: [{"x": random(8, 20, 32, seed=5)}], HERE)
    for choice in recipe.precisions[precision]:
        PASSES[choice.name](**choice.options).apply(model, context)
    RemoveUnusedNodesPass()(model)
    alone = outputs(model, {"x": quiet})
    beside = outputs(model, {"x": np.concatenate([quiet, 50 * quiet])})
    for output, expected in alone.items():
        np.testing.assert_allclose(beside[output][:1], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
