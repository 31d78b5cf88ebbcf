from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.passes.fuse_attention import FuseAttention
from tests.optimize.graphs import apply, graph, operators, random

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
REAL = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
HEADS = np.array([0, 0, 2, 4])
MERGED = np.array([0, 0, 8])

PADDING = """
    flags = Cast <to = 9> (attention_mask)
    mask = Unsqueeze(flags, axes)
"""
ADDITIVE = """
    flags = Cast <to = 9> (attention_mask)
    wide = Unsqueeze(flags, axes)
    mask = Where(wide, zero, lowest)
"""
CAUSAL = """
    flags = Cast <to = 9> (attention_mask)
    wide = Unsqueeze(flags, axes)
    row = Unsqueeze(position_ids, row_axes)
    column = Unsqueeze(position_ids, axes)
    before = LessOrEqual(column, row)
    mask = And(wide, before)
"""


def attention(mask: str, dims: str, dtype: str = "bool", options: str = "scale = 0.5"):  # noqa: ANN201
    return graph(
        f"""g (int64[batch, sequence] attention_mask, int64[batch, sequence] position_ids,
        float[batch, sequence, 8] q, float[batch, sequence, 8] k, float[batch, sequence, 8] v,
        int64[4] heads, int64[3] merged, int64[2] axes, int64[2] row_axes, float zero, float lowest)
        => (float[batch, sequence, 8] y)
        <float[batch, sequence, 2, 4] q4, float[batch, sequence, 2, 4] k4, float[batch, sequence, 2, 4] v4,
         float[batch, 2, sequence, 4] qt, float[batch, 2, sequence, 4] kt, float[batch, 2, sequence, 4] vt,
         float[batch, 2, sequence, 4] mixed, float[batch, sequence, 2, 4] back, {dtype}[{dims}] mask> {{
            {mask}
            q4 = Reshape(q, heads)
            k4 = Reshape(k, heads)
            v4 = Reshape(v, heads)
            qt = Transpose <perm = [0, 2, 1, 3]> (q4)
            kt = Transpose <perm = [0, 2, 1, 3]> (k4)
            vt = Transpose <perm = [0, 2, 1, 3]> (v4)
            mixed = Attention <{options}> (qt, kt, vt, mask)
            back = Transpose <perm = [0, 2, 1, 3]> (mixed)
            y = Reshape(back, merged)
        }}""",
        heads=HEADS,
        merged=MERGED,
        axes=np.array([1, 2]),
        row_axes=np.array([1, 3]),
        zero=np.array(0, np.float32),
        lowest=np.array(np.finfo(np.float32).min),
    )


FEEDS = {
    "attention_mask": REAL,
    "position_ids": np.tile(np.arange(4), (2, 1)),
    "q": random(2, 4, 8),
    "k": random(2, 4, 8, seed=1),
    "v": random(2, 4, 8, seed=2),
}
FULL = "batch, 1, sequence, sequence"


@pytest.mark.parametrize(("mask", "dtype"), [(PADDING, "bool"), (ADDITIVE, "float")], ids=["bool", "additive"])
def test_a_padding_mask_is_recognised_by_its_values(mask: str, dtype: str) -> None:
    model = attention(mask, "batch, 1, 1, sequence", dtype)
    assert apply(FuseAttention(), model, FEEDS)
    assert operators(model) == {"Cast": 1, "MultiHeadAttention": 1}
    fused = model.graph[-1]
    assert (fused.attributes["num_heads"].value, fused.attributes["scale"].value) == (2, 0.5)


def test_another_mask_is_kept_as_a_bias() -> None:
    model = attention(CAUSAL, FULL)
    assert apply(FuseAttention(), model, FEEDS)
    assert operators(model)["MultiHeadAttention"] == 1
    assert model.graph[-1].inputs[4] is None
    assert model.graph[-1].inputs[5] is not None


def test_another_mask_that_the_kernel_cannot_broadcast_is_left_alone() -> None:
    shifted = """
    moved = Sub(attention_mask, attention_mask)
    flags = Cast <to = 9> (moved)
    opened = Not(flags)
    mask = Unsqueeze(opened, axes)
    """
    model = attention(shifted, "batch, 1, 1, sequence")
    assert not apply(FuseAttention(), model, FEEDS)
    assert operators(model)["Attention"] == 1


@pytest.mark.parametrize("options", ["is_causal = 1", "softcap = 2.0"])
def test_attention_that_computes_something_else_is_left_alone(options: str) -> None:
    model = attention(PADDING, "batch, 1, 1, sequence", options=options)
    assert not apply(FuseAttention(), model, FEEDS)
    assert operators(model)["Attention"] == 1
