"""scatter-cache: the pattern, its near misses, and what real tokens see staying the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from compiler.optimize.execute import Executor
from compiler.optimize.passes.base import Feeds
from compiler.optimize.passes.scatter_cache import ScatterCache
from tests.optimize.cached import CACHED, CAUSAL, CONTEXT, OFF_BY_ONE, WINDOW, shaped, text
from tests.optimize.graphs import graph, operators, random

PASTS = ("past_key_values.0.key", "past_key_values.0.value")
PRESENTS = ("present.0.key", "present.0.value")

PADDED = "mask = And (visible4, real4)"
ADDED = "mask = Where (visible4, nothing, lowest)"  # takes no attention_mask: nothing lies before a row's first token
# A bias for every distance, as T5 adds it.
BIASED = """
    distance = Sub (rows, columns)
    index = Max (distance, zero)
    biases = Gather <axis = 1> (table, index)
    bias4 = Unsqueeze (biases, axis0)
    mask = Where (visible4, bias4, lowest)"""
# A bias for every column.
BY_COLUMN = (
    BIASED.replace("Max (distance, zero)", "Add (columns, nowhere)")
    .replace("distance =", "nowhere =")
    .replace("Sub (rows, columns)", "Sub (rows, rows)")
)

# Positions counted from the cache's length and looked up in a table, as BART does: no input numbers them.
COUNTED = """
decoder (
    float[batch, sequence, 32] x,
    float[batch, 2, past_sequence, 16] past_key, float[batch, 2, past_sequence, 16] past_value,
    float[34, 32] places, int64[4] split, int64[3] merged, int64 zero, int64 one, int64 two, int64[1] axis0,
    int64[1] axis1, int64[2] axes
) => (
    float[batch, sequence, 32] y,
    float[batch, 2, total_sequence, 16] present_key, float[batch, 2, total_sequence, 16] present_value
) {
    past_shape = Shape <start = 2, end = 3> (past_key)
    past_length = Squeeze (past_shape)
    new_shape = Shape <start = 1, end = 2> (x)
    new_length = Squeeze (new_shape)
    total = Add (past_length, new_length)
    new_range = Range (zero, new_length, one)
    absolute = Add (new_range, past_length)
    numbers = Unsqueeze (absolute, axis0)
    place = Add (numbers, two)
    placed = Gather (places, place)
    moved = Add (x, placed)
    rows = Unsqueeze (absolute, axis1)
    columns = Range (zero, total, one)
    visible = LessOrEqual (columns, rows)
    mask = Unsqueeze (visible, axes)
    parts = Reshape (moved, split)
    heads = Transpose <perm = [0, 2, 1, 3]> (parts)
    present_key = Concat <axis = -2> (past_key, heads)
    present_value = Concat <axis = -2> (past_value, heads)
    attended = Attention (heads, present_key, present_value, mask)
    turned = Transpose <perm = [0, 2, 1, 3]> (attended)
    y = Reshape (turned, merged)
}
"""


def named(subject: ir.Model) -> ir.Model:
    """The names that exported decoders give their caches, which the text format does not know."""
    renamed = dict(zip(("past_key", "past_value", "present_key", "present_value"), (*PASTS, *PRESENTS), strict=True))
    for value in (*subject.graph.inputs, *subject.graph.outputs):
        value.name = renamed.get(str(value.name), value.name)
    return subject


def model(visible: str = CAUSAL, mask: str = PADDED) -> ir.Model:
    table = ", ".join(f"{number:.3f}" for number in random(4 * CONTEXT, seed=3))
    no = "bool[1, 4, 1, 1] no = {0, 0, 0, 0}"
    more = (
        f"{no}, int64 zero = {{0}}, float nothing = {{0}}, float lowest = {{-3.4e38}}, float[4, 32] table = {{{table}}}"
    )
    return named(shaped(text(visible).replace("int64 zero = {0}", more).replace(PADDED, mask)))


def counted(written: str = COUNTED) -> ir.Model:
    sizes = {"split": [0, 0, 2, 16], "merged": [0, 0, 32], "axis0": [0], "axis1": [1], "axes": [0, 1]}
    weights = {name: np.array(size) for name, size in sizes.items()}
    weights |= {"zero": np.array(0), "one": np.array(1), "two": np.array(2), "places": random(34, 32)}
    subject = graph(written, **weights)
    ShapeInferencePass()(subject)
    return named(subject)


def apply(subject: ir.Model, capacity: int = 0) -> bool:
    return ScatterCache(capacity=capacity).apply(subject, CACHED)


def call(past: int, lengths: tuple[int, ...]) -> Feeds:
    """Rows that have `past` columns and bring `lengths` new tokens, padded on the right."""
    batch, sequence = len(lengths), max(lengths)
    widths = {"q": 64, "k": 32, "v": 32, "x": 32}
    feeds = {name: random(batch, sequence, width, seed=i) for i, (name, width) in enumerate(widths.items())}
    feeds |= {name: random(batch, 2, past, 16, seed=7 + i) for i, name in enumerate(PASTS)}
    feeds["attention_mask"] = (np.arange(past + sequence) < np.array(lengths)[:, None] + past).astype(np.int64)
    feeds["position_ids"] = np.tile(np.arange(past, past + sequence, dtype=np.int64), (batch, 1))
    return feeds


def run(subject: ir.Model, feeds: Mapping[str, np.ndarray]) -> Feeds:
    inputs = {str(value.name): value.shape for value in subject.graph.inputs}
    given = {name: array for name, array in feeds.items() if name in inputs}
    for name in PASTS:
        columns = inputs[name][2]  # type: ignore[index]
        if isinstance(columns, int):
            given[name] = np.pad(given[name], ((0, 0), (0, 0), (0, columns - given[name].shape[2]), (0, 0)))
    return Executor().run(subject, [given])[0]


def hold_equal(found: Feeds, expected: Feeds, past: int, lengths: tuple[int, ...]) -> None:
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found["y"][row, :length], expected["y"][row, :length], atol=1e-5)
        for name in PRESENTS:
            columns = slice(past + length)
            assert found[name].shape[2] == CONTEXT
            np.testing.assert_allclose(found[name][row, :, columns], expected[name][row, :, columns], atol=1e-6)


# One and the same for every head, as a model with attention sinks writes it.
IN_HEADS = "also = Or (visible4, no)\n    mask = And (also, real4)"

VARIANTS = [(CAUSAL, IN_HEADS), (CAUSAL, PADDED), (WINDOW, PADDED), (CAUSAL, BIASED), (WINDOW, BIASED), (CAUSAL, ADDED)]
CALLS = [(0, (9, 4)), (9, (1, 1)), (6, (3, 3)), (0, (1, 1))]


@pytest.mark.parametrize(("visible", "mask"), VARIANTS)
@pytest.mark.parametrize(("past", "lengths"), CALLS)
def test_real_tokens_see_what_they_saw(visible: str, mask: str, past: int, lengths: tuple[int, ...]) -> None:
    feeds = call(past, lengths)
    expected = run(model(visible, mask), feeds)
    subject = model(visible, mask)
    assert apply(subject)
    hold_equal(run(subject, feeds), expected, past, lengths)


# As Marian does: without a dim for texts.
SHARED_BY_TEXTS = COUNTED.replace("place = Add (numbers, two)", "place = Add (absolute, two)")


@pytest.mark.parametrize("written", [COUNTED, SHARED_BY_TEXTS])
@pytest.mark.parametrize(("past", "lengths"), CALLS)
def test_positions_that_were_counted_become_an_input(written: str, past: int, lengths: tuple[int, ...]) -> None:
    feeds = call(past, lengths)
    subject = counted(written)
    expected = run(subject, feeds)
    assert apply(subject)
    assert [value.name for value in subject.graph.inputs] == ["x", "position_ids", *PASTS]
    hold_equal(run(subject, feeds), expected, past, lengths)


def test_the_cache_has_a_fixed_number_of_columns_and_needs_no_mask() -> None:
    subject = model()
    assert apply(subject, capacity=16)
    found = operators(subject)
    assert (found["TensorScatter"], found["Concat"], found["Attention"]) == (2, 0, 1)
    assert found["Shape"] == found["Range"] == 0, "nothing counts columns any more"
    shapes = {value.name: value.shape for value in (*subject.graph.inputs, *subject.graph.outputs)}
    assert "attention_mask" not in shapes
    for name in (*PASTS, *PRESENTS):
        assert shapes[name] == ["batch", 2, 16, 16]
    assert subject.opset_imports[""] == 24


def test_the_capacity_ends_at_the_context() -> None:
    subject = model()
    assert apply(subject, capacity=10 * CONTEXT)
    assert subject.graph.outputs[1].shape == ["batch", 2, CONTEXT, 16]


def test_a_second_run_changes_nothing() -> None:
    subject = model()
    assert apply(subject)
    before = operators(subject)
    assert not apply(subject)
    assert operators(subject) == before


# What is looked up for each position gets its dim for texts only afterwards: a second one cannot come before it.
SPREAD = SHARED_BY_TEXTS.replace(
    "placed = Gather (places, place)", "row = Gather (places, place)\n placed = Unsqueeze (row, axis0)"
)


def elsewhere_read() -> ir.Model:
    """The past itself, and not only what is appended to it, goes into the network."""
    read = "held = ReduceMax <keepdims = 0> (past_key)\n used = Add (vt, held)\n past_shape ="
    return named(shaped(text().replace("past_shape =", read).replace("(past_value, vt)", "(past_value, used)")))


@pytest.mark.parametrize(
    "subject",
    [model(OFF_BY_ONE), model(CAUSAL, BY_COLUMN), elsewhere_read(), counted(SPREAD)],
    ids=["a query does not see itself", "a bias of the column", "the past is read elsewhere", "positions in a row"],
)
def test_what_is_not_recognised_keeps_its_growing_cache(subject: ir.Model) -> None:
    def written() -> list[tuple[str, list[str | None]]]:
        return [(node.op_type, [value.name if value else None for value in node.inputs]) for node in subject.graph]

    before = written()
    assert not apply(subject)
    assert written() == before
    assert subject.opset_imports[""] == 23


def test_an_encoder_is_left_alone() -> None:
    subject = graph("encoder (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y) { y = Relu (x) }")
    assert not apply(subject)
