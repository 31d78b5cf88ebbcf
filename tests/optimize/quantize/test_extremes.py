from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.passes import Feeds
from compiler.optimize.quantize.extremes import SCORES, extremes
from compiler.optimize.quantize.observe import fitted
from tests.optimize.graphs import graph, random

GROUPED = """g (float[batch, 4, rows, 8] q, float[batch, 2, columns, 8] k, float[batch, 2, columns, 8] v)
    => (float[batch, 4, rows, 8] y) { y = Attention <scale = 0.5> (q, k, v) }"""


def test_the_largest_magnitude_over_all_feeds_whatever_its_sign() -> None:
    model = graph("g (float[n, 3] x, float[n, 3] unused) => (float[n, 3] y) { z = Neg(x)\n y = Relu(z) }")
    feeds = [{"x": np.array([[1, -5, 2]], np.float32)}, {"x": np.array([[3, 0, 0], [7, 1, 1]], np.float32)}]
    feeds = [feed | {"unused": np.zeros_like(feed["x"])} for feed in feeds]
    assert extremes(model, ["x", "z", "y"], feeds) == {"x": 7.0, "z": 7.0, "y": 5.0}


def test_an_empty_value_has_no_magnitude() -> None:
    model = graph("g (float[n, 3] x) => (float[n, 3] y) { y = Neg(x) }")
    assert extremes(model, ["y"], [{"x": np.zeros((0, 3), np.float32)}]) == {"y": 0.0}


def test_nan_counts_as_infinite() -> None:
    model = graph("g (float[n] x) => (float[n] y) { y = Sqrt(x) }")
    assert extremes(model, ["y"], [{"x": np.array([-1, 4], np.float32)}])["y"] == np.inf


def test_the_scores_inside_an_attention_are_bounded_from_above() -> None:
    feed = {"q": random(2, 4, 3, 8), "k": random(2, 2, 5, 8, seed=1), "v": random(2, 2, 5, 8, seed=2)}
    found = extremes(graph(GROUPED), ["y"], [feed])
    scores = 0.5 * np.einsum("bhid,bhjd->bhij", feed["q"], feed["k"].repeat(2, axis=1))
    assert np.abs(scores).max() <= found[f"y{SCORES}"] < 4 * np.abs(scores).max()


@pytest.mark.parametrize(("columns", "wanted"), [("past_sequence", 0), ("16", 16)])
def test_an_empty_past_gets_the_columns_and_the_type_that_the_graph_fixes(columns: str, wanted: int) -> None:
    model = graph(
        f"g (float16[batch, 2, {columns}, 8] past) => (float16[batch, 2, {columns}, 8] y) {{ y = Neg(past) }}"
    )
    model.graph.inputs[0].name = "past_key_values.0.key"
    feed: Feeds = {
        "past_key_values.0.key": np.zeros((3, 2, 0, 8), np.float32),
        "attention_mask": np.ones((3, 1), np.int64),
    }
    found = fitted(model.graph.inputs, feed)
    assert list(found) == ["past_key_values.0.key"]
    assert found["past_key_values.0.key"].shape == (3, 2, wanted, 8)
    assert found["past_key_values.0.key"].dtype == np.float16
