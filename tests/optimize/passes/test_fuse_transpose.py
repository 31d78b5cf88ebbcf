from __future__ import annotations

import numpy as np

from compiler.optimize.passes.fuse_transpose import FuseTranspose
from tests.optimize.graphs import apply, graph, operators, random

IDS = np.array([[1, 2, 0]])


def test_a_tied_head_reads_the_embedding_as_it_lies() -> None:
    model = graph(
        """g (int64[batch, sequence] ids, float[5, 8] table) => (float[batch, sequence, 5] y) {
            x = Gather(table, ids)
            head = Transpose <perm = [1, 0]> (table)
            y = MatMul(x, head)
        }""",
        table=random(5, 8),
    )
    assert apply(FuseTranspose(), model, {"ids": IDS})
    assert operators(model) == {"Gather": 1, "FusedMatMul": 1}
    assert list(model.graph.initializers) == ["table"]


def test_a_transpose_of_something_that_varies_is_left_alone() -> None:
    model = graph(
        """g (float[2, 3] x, float[4, 3] z) => (float[2, 4] y) {
            turned = Transpose <perm = [1, 0]> (z)
            y = MatMul(x, turned)
        }"""
    )
    assert not apply(FuseTranspose(), model, {"x": random(2, 3), "z": random(4, 3)})
    assert operators(model) == {"Transpose": 1, "MatMul": 1}
