from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.passes.fold_constants import FoldConstants
from tests.optimize.graphs import apply, graph, operators, random

FEEDS = {"ids": np.zeros((2, 3), np.int64), "x": random(2, 3, 8)}
WEIGHTS = {"w": random(8, 6), "b": random(6), "scale": random(8)}


def flattened(body: str, result: str = "float[batch, sequence, 6] y", width: int = 6) -> str:
    """x (batch, sequence, 8) is made flat, computed on as `z`, and given its shape back as `y`."""
    return f"""g (int64[batch, sequence] ids, float[batch, sequence, 8] x, float[8, 6] w, float[6] b, float[8] scale)
    => ({result})
    <float[rows, 8] flat> {{
        batch = Shape <start = 0, end = 1> (ids)
        length = Shape <start = 1, end = 2> (ids)
        rows = Constant <value_ints = [-1, 8]> ()
        width = Constant <value_ints = [{width}]> ()
        shape = Concat <axis = 0> (batch, length, width)
        flat = Reshape(x, rows)
        {body}
        y = Reshape(z, shape)
    }}"""


def test_a_gemm_between_reshapes_becomes_a_product_of_the_whole() -> None:
    model = graph(flattened("z = Gemm(flat, w, b)"), **WEIGHTS)
    assert apply(FoldConstants(), model, FEEDS)
    assert operators(model) == {"MatMul": 1, "Add": 1}


def test_a_transposed_weight_is_laid_out_for_the_product() -> None:
    model = graph(flattened("z = Gemm <transB = 1> (flat, w, b)"), **(WEIGHTS | {"w": random(6, 8)}))
    assert apply(FoldConstants(), model, FEEDS)
    assert operators(model) == {"MatMul": 1, "Add": 1}


def test_norms_and_pointwise_operators_between_come_along() -> None:
    body = """normal = LayerNormalization <axis = 1> (flat, scale)
        more = Add(normal, flat)
        z = Relu(more)"""
    model = graph(flattened(body, "float[batch, sequence, 8] y", 8), **WEIGHTS)
    assert apply(FoldConstants(), model, FEEDS)
    assert operators(model) == {"LayerNormalization": 1, "Add": 1, "Relu": 1}


@pytest.mark.parametrize(
    "body",
    ["z = Gemm <alpha = 2.0> (flat, w, b)", "sums = CumSum(flat, zero)\n z = Gemm(sums, w, b)"],
    ids=["scaled", "across rows"],
)
def test_what_needs_flat_rows_keeps_them(body: str) -> None:
    body = f"zero = Constant <value_int = 0> ()\n {body}"
    model = graph(flattened(body), **WEIGHTS)
    apply(FoldConstants(), model, FEEDS)
    assert operators(model)["Gemm"] == 1


def test_a_flat_result_of_the_graph_keeps_its_shape() -> None:
    model = graph(flattened("z = Gemm(flat, w, b)", "float[batch, sequence, 6] y, float[rows, 8] flat"), **WEIGHTS)
    apply(FoldConstants(), model, FEEDS)
    assert operators(model)["Gemm"] == 1
