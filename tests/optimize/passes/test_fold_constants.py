from __future__ import annotations

import numpy as np
import pytest

from compiler.optimize.passes.fold_constants import FoldConstants
from tests.optimize.graphs import apply, context, graph, operators, random

X = random(2, 3, 8)


def test_what_is_constant_is_folded_and_what_is_unused_goes() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x, float[8] unused) => (float[batch, sequence, 8] y) {
            two = Constant <value_float = 2.0> ()
            three = Constant <value_float = 3.0> ()
            six = Mul(two, three)
            dead = Neg(x)
            same = Identity(x)
            y = Mul(same, six)
        }""",
        unused=random(8),
    )
    assert apply(FoldConstants(), model, {"x": X})
    assert operators(model) == {"Mul": 1}
    assert len(model.graph.initializers) == 1


def test_reshapes_that_copy_dims_get_literal_shapes() -> None:
    model = graph(
        """g (int64[batch, sequence] ids, float[batch, sequence, 8] x) => (float[batch, 2, sequence, 4] y)
        <float[batch, sequence, 2, 4] heads> {
            batch = Shape <start = 0, end = 1> (ids)
            length = Shape <start = 1, end = 2> (ids)
            inner = Constant <value_ints = [2, 4]> ()
            shape = Concat <axis = 0> (batch, length, inner)
            heads = Reshape(x, shape)
            y = Transpose <perm = [0, 2, 1, 3]> (heads)
        }"""
    )
    assert apply(FoldConstants(), model, {"ids": np.zeros((2, 3), np.int64), "x": X})
    assert operators(model) == {"Reshape": 1, "Transpose": 1}
    (shape,) = model.graph.initializers.values()
    assert shape.const_value is not None
    np.testing.assert_array_equal(shape.const_value.numpy(), [0, 0, 2, 4])


def test_reshapes_that_move_a_dim_keep_it_computed() -> None:
    model = graph(
        """g (int64[batch, sequence] ids, float[batch, sequence, 8] x) => (float[sequence, batch, 8] y) {
            batch = Shape <start = 0, end = 1> (ids)
            length = Shape <start = 1, end = 2> (ids)
            inner = Constant <value_ints = [8]> ()
            shape = Concat <axis = 0> (length, batch, inner)
            y = Reshape(x, shape)
        }"""
    )
    apply(FoldConstants(), model, {"ids": np.zeros((2, 3), np.int64), "x": X})
    assert operators(model)["Shape"] == 2


@pytest.mark.parametrize("end", [3, 2], ids=["merged", "copies a dim that changed"])
def test_a_reshape_of_a_reshape(end: int) -> None:
    model = graph(
        f"""g (float[batch, 3, 8] x) => (float[batch, 24] z)
        <float[batch, 4, 6] y> {{
            first = Constant <value_ints = [0, 4, 6]> ()
            second = Constant <value_ints = [{"0, 24" if end == 3 else "-1, 24"}]> ()
            y = Reshape(x, first)
            z = Reshape(y, second)
        }}"""
    )
    assert apply(FoldConstants(), model, {"x": X})
    assert operators(model) == {"Reshape": 1}


def test_a_reshape_that_copies_a_changed_dim_is_not_merged() -> None:
    model = graph(
        """g (float[2, 3, 8] x) => (float[2, 4, 2, 3] z)
        <float[2, 4, 6] y> {
            first = Constant <value_ints = [2, 4, 6]> ()
            second = Constant <value_ints = [0, 0, 2, 3]> ()
            y = Reshape(x, first)
            z = Reshape(y, second)
        }"""
    )
    apply(FoldConstants(), model, {"x": X})
    assert operators(model) == {"Reshape": 2}


def test_nodes_that_give_their_input_back_go() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y)
        <float[batch, sequence, 8] cast, float[batch, 8, sequence] turned, float[batch, sequence, 8] back,
         float[batch, sequence, 8] cut> {
            cast = Cast <to = 1> (x)
            turned = Transpose <perm = [0, 2, 1]> (cast)
            back = Transpose <perm = [0, 2, 1]> (turned)
            zero = Constant <value_ints = [0]> ()
            axis = Constant <value_ints = [2]> ()
            end = Constant <value_ints = [8]> ()
            cut = Slice(back, zero, end, axis)
            y = Relu(cut)
        }"""
    )
    assert apply(FoldConstants(), model, {"x": X})
    assert operators(model) == {"Relu": 1}


def test_a_reversing_slice_is_kept() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y) {
            start = Constant <value_ints = [7]> ()
            end = Constant <value_ints = [-9]> ()
            axis = Constant <value_ints = [2]> ()
            step = Constant <value_ints = [-1]> ()
            y = Slice(x, start, end, axis, step)
        }"""
    )
    apply(FoldConstants(), model, {"x": X})
    assert operators(model) == {"Slice": 1}


def test_a_transposed_weight_becomes_a_view_and_a_tied_one_stays_single() -> None:
    own, tied = random(5, 8), random(8, 8)
    model = graph(
        """g (int64[batch, sequence] ids, float[5, 8] own, float[8, 8] tied) => (float[batch, sequence, 5] y,
        float[batch, sequence, 8] z) {
            x = Gather(tied, ids)
            a = Transpose <perm = [1, 0]> (own)
            b = Transpose <perm = [1, 0]> (tied)
            y = MatMul(x, a)
            z = MatMul(x, b)
        }""",
        own=own,
        tied=tied,
    )
    own_before = model.graph.initializers["own"].const_value
    assert apply(FoldConstants(), model, {"ids": np.array([[1, 2, 7]])})
    assert operators(model) == {"Gather": 1, "Transpose": 1, "MatMul": 2}
    assert sorted(model.graph.initializers) == ["own", "tied"]
    view = model.graph.initializers["own"].const_value
    assert own_before is not None
    assert view is not None
    assert np.shares_memory(view.numpy(), own_before.numpy())


def test_module_paths_stay_on_the_nodes() -> None:
    model = graph(
        """g (float[batch, sequence, 8] x, float[5, 8] w) => (float[batch, sequence, 5] y) {
            t = Transpose <perm = [1, 0]> (w)
            same = Identity(x)
            y = MatMul(same, t)
        }""",
        w=random(5, 8),
    )
    model.graph[2].metadata_props["module"] = "layers.0.dense"
    FoldConstants().apply(model, context())
    assert [node.metadata_props.get("module") for node in model.graph] == ["layers.0.dense"]
