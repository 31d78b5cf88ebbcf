"""mixed-precision of a decoder's cache and attention."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.optimize.passes.mixed_precision import Format, MixedPrecision
from tests.optimize.graphs import graph, random
from tests.optimize.mixed import apply, computed_in

DECODER = """
g (float[batch, sequence, 16] x, float[batch, 2, past_sequence, 8] past_key,
   float[batch, 2, past_sequence, 8] past_value, float[16, 16] weight, int64[4] split, int64[3] merged) =>
  (float[batch, sequence, 16] y, float[batch, 2, total_sequence, 8] present_key,
   float[batch, 2, total_sequence, 8] present_value) {
    k = MatMul (x, weight)
    parts = Reshape (k, split)
    heads = Transpose <perm = [0, 2, 1, 3]> (parts)
    present_key = Concat <axis = 2> (past_key, heads)
    present_value = Concat <axis = 2> (past_value, heads)
    mixed = Attention (heads, present_key, present_value)
    turned = Transpose <perm = [0, 2, 1, 3]> (mixed)
    y = Reshape (turned, merged)
}
"""


def decoder(scale: float = 1.0) -> ir.Model:
    sizes = {"split": np.array([0, 0, 2, 8]), "merged": np.array([0, 0, 16])}
    subject = graph(DECODER, weight=random(16, 16) * scale, **sizes)
    for value in (*subject.graph.inputs, *subject.graph.outputs):
        name = str(value.name)
        if name.startswith(("past_", "present_")):
            value.name = name.replace("past_", "past_key_values.0.").replace("present_", "present.0.")
    return subject


EMPTY = np.zeros((2, 2, 0, 8), np.float32)
STEP = {"x": random(2, 3, 16), "past_key_values.0.key": EMPTY, "past_key_values.0.value": EMPTY}


@pytest.mark.parametrize(
    ("dtype", "scale", "kept"),
    [("float16", 1.0, "FLOAT16"), ("float16", 1e5, "FLOAT"), ("bfloat16", 1.0, "FLOAT")],
)
def test_the_cache_is_float16_where_all_of_it_fits(dtype: Format, scale: float, kept: str) -> None:
    subject = decoder(scale)
    apply(subject, MixedPrecision(dtype=dtype), [STEP])
    cache = [value for value in (*subject.graph.inputs, *subject.graph.outputs) if "." in str(value.name)]
    assert [str(value.dtype) for value in cache] == [kept] * 4
    assert subject.graph.outputs[0].dtype == ir.DataType.FLOAT


def test_an_attention_whose_scores_overflow_stays_float32() -> None:
    """Keys and queries of some thousands fit, and their products do not."""
    subject = decoder(3e3)
    feed = STEP | {"x": random(2, 3, 16) / 4}
    assert apply(subject, feeds=[feed])
    assert computed_in(subject)["mixed"] == "FLOAT"
    assert computed_in(subject)["k"] == "FLOAT16"
