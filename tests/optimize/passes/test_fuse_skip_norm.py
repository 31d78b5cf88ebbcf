from __future__ import annotations

import pytest

from compiler.optimize.passes.fuse_skip_norm import FuseSkipNorm
from tests.optimize.graphs import apply, graph, operators, random

FEEDS = {"x": random(2, 3, 8), "skip": random(2, 3, 8, seed=1)}
WEIGHTS = {"scale": random(8, seed=2), "shift": random(8, seed=3), "bias": random(8, seed=4)}
SIGNATURE = "float[batch, sequence, 8] x, float[batch, sequence, 8] skip"


def test_add_and_layer_norm_become_one_kernel_with_the_bias_before_them() -> None:
    model = graph(
        f"""g ({SIGNATURE}, float[8] scale, float[8] shift, float[8] bias) => (float[batch, sequence, 8] y)
        <float[batch, sequence, 8] biased, float[batch, sequence, 8] sum> {{
            biased = Add(x, bias)
            sum = Add(skip, biased)
            y = LayerNormalization <epsilon = 0.01> (sum, scale, shift)
        }}""",
        **WEIGHTS,
    )
    assert apply(FuseSkipNorm(), model, FEEDS)
    assert operators(model) == {"SkipLayerNormalization": 1}


@pytest.mark.parametrize(
    ("norm", "kernel"),
    [
        ("LayerNormalization(sum, scale)", "SkipLayerNormalization"),
        ("RMSNormalization <axis = -1> (sum, scale)", "SkipSimplifiedLayerNormalization"),
    ],
)
def test_the_sum_stays_available_to_the_next_residual(norm: str, kernel: str) -> None:
    model = graph(
        f"""g ({SIGNATURE}, float[8] scale) => (float[batch, sequence, 8] y, float[batch, sequence, 8] sum) {{
            sum = Add(x, skip)
            normal = {norm}
            y = Mul(normal, sum)
        }}""",
        scale=WEIGHTS["scale"],
    )
    assert apply(FuseSkipNorm(), model, FEEDS)
    assert operators(model) == {kernel: 1, "Mul": 1}


def test_a_chain_of_residuals_is_fused_whole() -> None:
    model = graph(
        f"""g ({SIGNATURE}, float[8] scale) => (float[batch, sequence, 8] y)
        <float[batch, sequence, 8] first, float[batch, sequence, 8] second, float[batch, sequence, 8] normal> {{
            first = Add(x, skip)
            normal = RMSNormalization <axis = -1> (first, scale)
            second = Add(first, normal)
            y = RMSNormalization <axis = -1> (second, scale)
        }}""",
        scale=WEIGHTS["scale"],
    )
    assert apply(FuseSkipNorm(), model, FEEDS)
    assert operators(model) == {"SkipSimplifiedLayerNormalization": 2}


@pytest.mark.parametrize(
    ("skip", "axis"),
    [("float[1, sequence, 8] skip", -1), ("float[batch, sequence, 8] skip", 1)],
    ids=["broadcast", "axis"],
)
def test_another_shape_or_axis_is_left_alone(skip: str, axis: int) -> None:
    model = graph(
        f"""g (float[batch, sequence, 8] x, {skip}, float[3, 8] wide, float[8] scale) => (float[batch, sequence, 8] y)
        <float[batch, sequence, 8] sum> {{
            sum = Add(x, skip)
            y = LayerNormalization <axis = {axis}> (sum, {"scale" if axis == -1 else "wide"})
        }}""",
        scale=WEIGHTS["scale"],
        wide=random(3, 8),
    )
    feeds = FEEDS if axis == 1 else FEEDS | {"skip": FEEDS["skip"][:1]}
    assert not apply(FuseSkipNorm(), model, feeds)
    assert operators(model)["LayerNormalization"] == 1
