from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.optimize.passes.fuse_attention import FuseAttention
from tests.optimize.graphs import apply, graph, operators, random

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
REAL = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
HEADS = np.array([0, 0, 2, 4])
MERGED = np.array([0, 0, 8])

EVERY_ROW = """
    rows = Unsqueeze(position_ids, row_axes)
    always = GreaterOrEqual(rows, first)
    flags = Cast <to = 9> (attention_mask)
    wide = Unsqueeze(flags, axes)
    padding = And(wide, always)
"""
PADDING = f"{EVERY_ROW} mask = Identity(padding)"
ADDITIVE = f"{EVERY_ROW} mask = Where(padding, zero, lowest)"
CAUSAL = f"""{EVERY_ROW}
    columns = Unsqueeze(position_ids, axes)
    before = LessOrEqual(columns, rows)
    mask = And(padding, before)
"""
FULL = "batch, 1, sequence, sequence"


def attention(mask: str, dims: str = FULL, dtype: str = "bool", options: str = "scale = 0.5") -> ir.Model:
    return graph(
        f"""g (int64[batch, sequence] attention_mask, int64[batch, sequence] position_ids,
        float[batch, sequence, 8] q, float[batch, sequence, 8] k, float[batch, sequence, 8] v,
        int64[4] heads, int64[3] merged, int64[2] axes, int64[2] row_axes, int64 first, float zero,
        float lowest, bool[4, 4] triangle)
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
        first=np.array(0),
        zero=np.array(0, np.float32),
        lowest=np.array(np.finfo(np.float32).min),
        triangle=np.tri(4, dtype=bool),
    )


FEEDS = {
    "attention_mask": REAL,
    "position_ids": np.tile(np.arange(4), (2, 1)),
    "q": random(2, 4, 8),
    "k": random(2, 4, 8, seed=1),
    "v": random(2, 4, 8, seed=2),
}


@pytest.mark.parametrize(("mask", "dtype"), [(PADDING, "bool"), (ADDITIVE, "float")], ids=["bool", "additive"])
def test_a_padding_mask_is_recognised_by_its_values(mask: str, dtype: str) -> None:
    model = attention(mask, dtype=dtype)
    assert apply(FuseAttention(), model, FEEDS)
    assert operators(model) == {"Cast": 1, "MultiHeadAttention": 1}
    fused = model.graph[-1]
    assert (fused.attributes["num_heads"].value, fused.attributes["scale"].value) == (2, 0.5)


def test_another_mask_is_kept_as_a_bias() -> None:
    model = attention(CAUSAL)
    assert apply(FuseAttention(), model, FEEDS)
    assert operators(model)["MultiHeadAttention"] == 1
    assert model.graph[-1].inputs[4] is None
    assert model.graph[-1].inputs[5] is not None


def test_a_mask_without_batch_and_heads_is_left_alone() -> None:
    model = attention("mask = Identity(triangle)", "4, 4")
    assert not apply(FuseAttention(), model, FEEDS)
    assert operators(model)["Attention"] == 1


@pytest.mark.parametrize("options", ["is_causal = 1", "softcap = 2.0"])
def test_attention_that_computes_something_else_is_left_alone(options: str) -> None:
    model = attention(PADDING, options=options)
    assert not apply(FuseAttention(), model, FEEDS)
    assert operators(model)["Attention"] == 1
