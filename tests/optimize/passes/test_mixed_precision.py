"""mixed-precision: what becomes narrow, what stays float32 and why, and the answers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.errors import PassError
from compiler.optimize.passes.mixed_precision import Format, MixedPrecision
from tests.optimize.graphs import graph, random
from tests.optimize.mixed import FEED, IDS, apply, computed_in, layer, naive, operators, relative, run


def test_products_are_narrow_and_norms_and_softmax_are_not() -> None:
    subject = layer()
    expected = run(subject)
    assert apply(subject)
    kinds = computed_in(subject)
    narrow = ("q", "k", "v", "scores", "guarded", "mixed", "summed", "wide", "active", "back", "y.float16")
    assert {name: kinds[name] for name in narrow} == dict.fromkeys(narrow, "FLOAT16")
    assert {kinds[name] for name in ("normed", "shares")} == {"FLOAT"}
    for name in ("table", "wq", "up", "down"):
        weight = subject.graph.initializers[name].const_value
        assert weight is not None
        assert weight.dtype == ir.DataType.FLOAT16
    assert subject.graph.outputs[0].dtype == ir.DataType.FLOAT
    assert relative(run(subject), expected) < 5e-3


def test_casts_are_few() -> None:
    """x and the scores up, the norm, the shares and the mask down, the answer up; and the mask's own from int64."""
    subject = layer()
    assert apply(subject)
    assert operators(subject)["Cast"] == 7
    for node in subject.graph:
        source = node.inputs[0]
        behind = source.producer() if node.op_type == "Cast" and source is not None else None
        assert behind is None or behind.op_type != "Cast", "a cast of a cast"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_masks_stay_finite(dtype: Format) -> None:
    subject = layer()
    assert apply(subject, MixedPrecision(dtype=dtype))
    lowest = next(value for name, value in subject.graph.initializers.items() if name.startswith("lowest"))
    assert lowest.const_value is not None
    number = float(lowest.const_value.numpy())
    limit = {"float16": 65504.0, "bfloat16": 3.38e38}[dtype]
    assert -limit / 4 < number < -1000


def test_a_row_of_padding_alone_gives_nan_in_a_naive_cast_only() -> None:
    feed = {"input_ids": IDS, "attention_mask": np.array([[1, 1, 1, 1], [0, 0, 0, 0]])}
    assert np.isnan(run(naive(layer()), feed)).any()
    subject = layer()
    assert apply(subject, feeds=[FEED, feed])
    assert np.isfinite(run(subject, feed)).all()


def test_layers_that_overflow_stay_float32_and_the_others_do_not() -> None:
    """As in T5: what the feed-forward part adds leaves float16's range, and so does the sum."""
    large = {"down": random(32, 16, seed=5) * 4e4}
    subject = layer(**large)
    expected = run(subject)
    assert np.abs(expected).max() > 65504
    assert not np.isfinite(run(naive(layer(**large)))).all()
    assert apply(subject)
    kinds = computed_in(subject)
    assert {kinds[name] for name in ("back", "y")} == {"FLOAT"}
    assert {kinds[name] for name in ("q", "scores", "mixed", "wide")} == {"FLOAT16"}
    assert relative(run(subject), expected) < 5e-3


def test_weights_beyond_the_range_stay_float32() -> None:
    up = random(16, 32, seed=4) / 4
    up[0, 0] = 7e4
    subject = layer(up=up)
    assert apply(subject)
    assert computed_in(subject)["wide"] == "FLOAT"
    assert subject.graph.initializers["up"].dtype == ir.DataType.FLOAT


def test_bfloat16_has_the_range_that_float16_lacks() -> None:
    subject = layer(down=random(32, 16, seed=5) * 4e4)
    assert apply(subject, MixedPrecision(dtype="bfloat16"))
    assert computed_in(subject)["back"] == "BFLOAT16"


def test_headroom_decides() -> None:
    def narrow(headroom: float) -> bool:
        subject = layer(down=random(32, 16, seed=5) * 1e3)
        assert apply(subject, MixedPrecision(headroom=headroom))
        return computed_in(subject)["back"] == "FLOAT16"

    assert narrow(1.0)
    assert not narrow(64.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_second_run_changes_nothing(dtype: Format) -> None:
    subject, pass_ = layer(), MixedPrecision(dtype=dtype)
    assert apply(subject, pass_)
    before = [(node.op_type, [value.name if value else None for value in node.inputs]) for node in subject.graph]
    assert not apply(subject, pass_)
    assert [
        (node.op_type, [value.name if value else None for value in node.inputs]) for node in subject.graph
    ] == before


def test_a_tied_weight_is_stored_once() -> None:
    subject = graph(
        """g (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask, float[11, 16] table)
        => (float[batch, sequence, 11] y) {
            x = Gather (table, input_ids)
            head = Transpose <perm = [1, 0]> (table)
            y = MatMul (x, head)
        }""",
        table=random(11, 16),
    )
    assert apply(subject)
    assert list(subject.graph.initializers) == ["table"]
    assert subject.graph.initializers["table"].dtype == ir.DataType.FLOAT16
    assert operators(subject)["Cast"] == 1, "the answer's"


def test_angles_of_positions_are_computed_in_float32() -> None:
    subject = graph(
        """g (int64[batch, sequence] input_ids, int64[batch, sequence] position_ids, float[11, 8] table,
           float[1, 8] frequencies, int64[1] axis) => (float[batch, sequence, 8] y) {
            x = Gather (table, input_ids)
            wide = Unsqueeze (position_ids, axis)
            at = Cast <to = 1> (wide)
            angles = MatMul (at, frequencies)
            cos = Cos (angles)
            y = Mul (x, cos)
        }""",
        table=random(11, 8),
        frequencies=random(1, 8),
        axis=np.array([2]),
    )
    assert apply(subject, feeds=[{"input_ids": IDS, "position_ids": IDS + 1000}])
    kinds = computed_in(subject)
    assert (kinds["angles"], kinds["cos"], kinds["y.float16"]) == ("FLOAT", "FLOAT", "FLOAT16")


def test_codes_are_restored_into_the_narrow_format() -> None:
    subject = graph(
        """g (int64[batch, sequence] input_ids, float[11, 16] table, int8[16, 16] codes, float[16] scales,
           float step, int8 zero) => (float[batch, sequence, 16] y) {
            x = Gather (table, input_ids)
            rounded = QuantizeLinear (x, step, zero)
            restored = DequantizeLinear (rounded, step, zero)
            weight = DequantizeLinear <axis = 1> (codes, scales)
            y = MatMul (restored, weight)
        }""",
        table=random(11, 16),
        codes=(random(16, 16) * 40).astype(np.int8),
        scales=np.full(16, 0.01, np.float32),
        step=np.array(0.03, np.float32),
        zero=np.array(0, np.int8),
    )
    expected = run(subject)
    assert apply(subject)
    kinds = computed_in(subject)
    assert {kinds[name] for name in ("rounded", "restored", "weight", "y.float16")} == {"FLOAT16"}
    assert operators(subject)["Cast"] == 1
    assert relative(run(subject), expected) < 2e-2


def test_adapters_come_in_float32_and_are_cast() -> None:
    subject = graph(
        """g (int64[batch, sequence] input_ids, float[16, rank] a, float[rank, 16] b, float[11, 16] table)
        => (float[batch, sequence, 16] y) {
            x = Gather (table, input_ids)
            down = MatMul (x, a)
            up = MatMul (down, b)
            y = Add (x, up)
        }""",
        table=random(11, 16),
    )
    base = {"input_ids": IDS, "a": np.zeros((16, 0), np.float32), "b": np.zeros((0, 16), np.float32)}
    assert apply(subject, feeds=[base])
    assert [value.dtype for value in subject.graph.inputs[1:]] == [ir.DataType.FLOAT] * 2
    assert computed_in(subject)["down"] == "FLOAT16"
    tuned = {"input_ids": IDS, "a": random(16, 2), "b": random(2, 16)}
    assert np.isfinite(run(subject, tuned)).all()
    assert np.isfinite(run(subject, base)).all()


def test_without_feeds_there_is_nothing_to_choose_by() -> None:
    with pytest.raises(PassError, match="calibrate"):
        apply(layer(), feeds=[])


def test_the_format_is_told() -> None:
    assert MixedPrecision().formats == ("float16",)
    assert MixedPrecision(dtype="bfloat16").formats == ("bfloat16",)
    with pytest.raises(PassError, match="float8"):
        apply(layer(), MixedPrecision(dtype="float8"))  # type: ignore[arg-type]
