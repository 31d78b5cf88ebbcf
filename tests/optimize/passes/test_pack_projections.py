from __future__ import annotations

import numpy as np

from compiler.optimize.passes.pack_projections import PackProjections
from tests.optimize.graphs import apply, graph, operators, random

X = random(2, 3, 8)
WEIGHTS = {"a": random(8, 4, seed=1), "b": random(8, 6, seed=2)}


def test_siblings_become_one_product_and_a_split() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x, float[8, 4] a, float[8, 6] b) => (float[batch, sequence, 4] y,
        float[batch, sequence, 6] z) {
            gate = MatMul(x, a)
            up = MatMul(x, b)
            y = Relu(gate)
            z = Neg(up)
        }""",
        **WEIGHTS,
    )
    model.graph[0].metadata_props["module"] = "mlp.gate_proj"
    model.graph[1].metadata_props["module"] = "mlp.up_proj"
    assert apply(PackProjections(), model, {"x": X})
    assert operators(model) == {"MatMul": 1, "Split": 1, "Relu": 1, "Neg": 1}
    assert model.graph[0].metadata_props["module"] == "mlp.gate_proj+up_proj"


def test_biases_are_packed_too() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x, float[8, 4] a, float[8, 6] b, float[4] p, float[6] q)
        => (float[batch, sequence, 4] y, float[batch, sequence, 6] z) {
            first = MatMul(x, a)
            second = MatMul(x, b)
            third = Add(first, p)
            fourth = Add(q, second)
            y = Relu(third)
            z = Relu(fourth)
        }""",
        **WEIGHTS,
        p=random(4),
        q=random(6),
    )
    assert apply(PackProjections(), model, {"x": X})
    assert operators(model) == {"MatMul": 1, "Add": 1, "Split": 1, "Relu": 2}


def test_a_tied_weight_is_left_alone() -> None:
    model = graph(
        """g (int64[batch, sequence] ids, float[4, 4] a, float[4, 4] b) => (float[batch, sequence, 4] y) {
            x = Gather(a, ids)
            first = MatMul(x, a)
            second = MatMul(x, b)
            y = Add(first, second)
        }""",
        a=random(4, 4),
        b=random(4, 4, seed=1),
    )
    assert not apply(PackProjections(), model, {"ids": np.array([[0, 3]])})
    assert operators(model)["MatMul"] == 2


ATTENTION = """g (float[batch, sequence, 8] x, float[8, 16] wq, float[8, 8] wk, float[8, 8] wv,
    float[batch, 1, past, 8] past_key, float[batch, 1, past, 8] past_value, int32[batch] last, int32 width)
    => (float[batch, sequence, 16] y, float[batch, 1, total, 8] key, float[batch, 1, total, 8] value {extra}) {{
        v = MatMul(x, wv)
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        {more}
        y, key, value = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 1>
            (q, k, v, past_key, past_value, last, width)
    }}"""
PROJECTIONS = {"wq": random(8, 16, seed=3), "wk": random(8, 8, seed=4), "wv": random(8, 8, seed=5)}
ONE_STEP = {
    "x": X[:, :1],
    "past_key": random(2, 1, 2, 8),
    "past_value": random(2, 1, 2, 8, seed=6),
    "last": np.array([2, 2], np.int32),
    "width": np.array(3, np.int32),
}


def test_group_query_attention_takes_the_product_whole() -> None:
    model = graph(ATTENTION.format(extra="", more=""), **PROJECTIONS)
    assert apply(PackProjections(), model, ONE_STEP)
    assert operators(model) == {"MatMul": 1, "GroupQueryAttention": 1}


def test_a_projection_with_another_reader_needs_the_split() -> None:
    extra, more = ", float[batch, sequence, 8] negated", "negated = Neg(k)"
    model = graph(ATTENTION.format(extra=extra, more=more), **PROJECTIONS)
    assert apply(PackProjections(), model, ONE_STEP)
    assert operators(model) == {"MatMul": 1, "Split": 1, "Neg": 1, "GroupQueryAttention": 1}


def test_a_split_that_the_model_came_with_is_dropped_too() -> None:
    model = graph(
        """g (float[batch, sequence, 48] packed, float[batch, 2, past, 8] past_key, float[batch, 2, past, 8] past_value,
        int32[batch] last, int32 width)
        => (float[batch, sequence, 16] y, float[batch, 2, total, 8] key, float[batch, 2, total, 8] value) {
            q, k, v = Split <axis = 2, num_outputs = 3> (packed)
            y, key, value = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 2>
                (q, k, v, past_key, past_value, last, width)
        }"""
    )
    past = {"past_key": random(2, 2, 2, 8), "past_value": random(2, 2, 2, 8, seed=6)}
    feeds = {name: ONE_STEP[name] for name in ("last", "width")} | past | {"packed": random(2, 1, 48)}
    assert apply(PackProjections(), model, feeds)
    assert operators(model) == {"GroupQueryAttention": 1}
