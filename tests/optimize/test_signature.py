from __future__ import annotations

import pytest

from compiler.errors import PassError
from compiler.optimize.signature import cache_shape, tensors
from compiler.records import Tensor
from tests.optimize.graphs import exported, graph

PLAIN = "g (int64[batch, sequence] ids) => (float[batch, sequence] y) { y = Cast <to = 1> (ids) }"
SHARED = """g (float[batch, sequence, 24] qkv, float[batch, 1, past, 8] key, float[batch, 1, past, 8] value,
    int32[batch] last, int32 width) => (float[batch, sequence, 8] y) {
        y = com.microsoft.GroupQueryAttention <num_heads = 1, kv_num_heads = 1> (qkv, , , key, value, last, width)
    }"""


def test_dims_are_sizes_or_names_and_dtypes_are_numpys() -> None:
    model = graph(PLAIN)
    assert tensors(model.graph.inputs) == (Tensor(name="ids", dtype="int64", shape=("batch", "sequence")),)
    assert tensors(model.graph.outputs) == (Tensor(name="y", dtype="float32", shape=("batch", "sequence")),)


def test_a_dim_without_size_and_name_is_an_error_that_names_the_value() -> None:
    with pytest.raises(PassError, match='"ids"'):
        tensors(graph("g (int64[batch, ?] ids) => (float[batch, n] y) { y = Cast <to = 1> (ids) }").graph.inputs)


@pytest.mark.parametrize(("text", "layout"), [(PLAIN, "concatenated"), (SHARED, "shared")])
def test_the_cache_is_shared_where_the_kernel_writes_in_place(text: str, layout: str) -> None:
    cache = cache_shape(graph(text), exported("decoder"))
    assert cache is not None
    assert cache.layout == layout


SCATTERED = """g (float16[batch, 1, 32, 8] past, float16[batch, 1, sequence, 8] new, int64[batch] at) =>
    (float16[batch, 1, 32, 8] present) { present = TensorScatter <axis = -2> (past, new, at) }"""


def test_a_cache_of_fixed_size_says_so_and_what_it_holds() -> None:
    model = graph(SCATTERED)
    model.graph.inputs[0].name = "past_key_values.0.key"
    cache = cache_shape(model, exported("decoder"))
    assert cache is not None
    assert (cache.layout, cache.capacity, cache.dtype) == ("shared", 32, "float16")
    plain = cache_shape(graph(PLAIN), exported("decoder"))
    assert plain is not None
    assert (plain.capacity, plain.dtype) == (None, "float32")


def test_an_encoder_has_no_cache() -> None:
    assert cache_shape(graph(PLAIN), exported()) is None
