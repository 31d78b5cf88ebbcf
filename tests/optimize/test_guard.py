from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.errors import CheckpointError, EngineError
from compiler.optimize.guard import FLOOR, Guard, Judgement
from compiler.optimize.passes.scatter_cache import ScatterCache
from compiler.records import Tensor
from tests.optimize.graphs import context, exported, graph, random

TABLE = random(11, 8)
HEAD = random(8, 8, seed=1)


def embedding(body: str = "y = MatMul(x, head)", **weights: np.ndarray) -> ir.Model:
    """(batch, sequence) ids -> (batch, sequence, 8)."""
    return graph(
        f"""g (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask, float[11, 8] table,
        float[8, 8] head) => (float[batch, sequence, 8] y) {{
            x = Gather(table, input_ids)
            {body}
        }}""",
        **({"table": TABLE, "head": HEAD} | weights),
    )


def test_equal_graphs_pass_with_no_error() -> None:
    model = embedding()
    judgement = Guard(model, exported()).judge(model, embedding(), lossy=False)
    assert (judgement.error, judgement.reason) == (0.0, "")


def test_a_changed_weight_is_found_and_measured_against_the_outputs_scale() -> None:
    model = embedding()
    judgement = Guard(model, exported()).judge(model, embedding(head=HEAD * np.float32(1.01)), lossy=False)
    assert judgement.error == pytest.approx(0.01, rel=1e-3)
    assert '"y"' in judgement.reason


def test_differences_of_a_few_roundings_pass() -> None:
    model = embedding()
    judgement = Guard(model, exported()).judge(model, embedding(head=HEAD * np.float32(1 + FLOOR / 4)), lossy=False)
    assert judgement.error is not None
    assert 0 < judgement.error < FLOOR
    assert judgement.reason == ""


def test_what_padding_holds_does_not_matter() -> None:
    model = embedding()
    padded_only = embedding(
        """whole = MatMul(x, head)
           real = Cast <to = 1> (attention_mask)
           axis = Constant <value_ints = [2]> ()
           wide = Unsqueeze(real, axis)
           y = Mul(whole, wide)"""
    )
    assert Guard(model, exported()).judge(model, padded_only, lossy=False).reason == ""


def test_an_error_is_compared_with_the_graph_before_and_not_with_the_first() -> None:
    first, second = embedding(), embedding(head=HEAD * np.float32(1.01))
    guard = Guard(first, exported())
    assert guard.judge(first, second, lossy=True).reason == ""
    assert guard.judge(second, second.clone(), lossy=False).error == 0.0


def test_a_model_of_its_own_noise_may_move_as_far_as_that() -> None:
    """(x + 1000) - 1000 amplifies the rounding of a vector: what is an error elsewhere is noise here."""
    text = """g (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask, float[11, 8] table,
        float[8] up, float[8] down) => (float[batch, sequence, 8] y) {
            x = Gather(table, input_ids)
            high = Add(x, up)
            y = Sub(high, down)
        }"""
    height = np.full(8, 1000, np.float32)
    noisy = graph(text, table=TABLE, up=height, down=height)
    moved = graph(text, table=TABLE, up=np.nextafter(height, np.float32(np.inf)), down=height)
    judgement = Guard(noisy, exported()).judge(noisy, moved, lossy=False)
    assert judgement.error is not None
    assert judgement.error > FLOOR
    assert judgement.reason == ""


def test_a_lossy_pass_may_change_numbers_but_not_make_nan() -> None:
    model = embedding()
    guard = Guard(model, exported())
    broken = HEAD.copy()
    broken[0, 0] = np.nan
    assert "NaN" in guard.judge(model, embedding(head=broken), lossy=True).reason
    assert guard.judge(model, embedding(head=HEAD * 2), lossy=True).reason == ""


def test_outputs_of_another_shape_or_name_are_refused() -> None:
    model = embedding()
    guard = Guard(model, exported())
    assert "float32[3, 13, 4]" in guard.judge(model, embedding(head=random(8, 4)), lossy=True).reason
    renamed = embedding()
    renamed.graph.outputs[0].name = "z"
    assert "['y', 'z']" in guard.judge(model, renamed, lossy=True).reason


def test_a_graph_that_onnxruntime_refuses_is_a_reason_and_not_a_crash() -> None:
    model = embedding()
    judgement = Guard(model, exported()).judge(model, embedding("y = NoSuchOperator(x)"), lossy=False)
    assert "NoSuchOperator" in judgement.reason


def test_logits_are_compared_at_the_positions_that_a_graph_gives() -> None:
    ids = (Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),)
    mask = (Tensor(name="attention_mask", dtype="int64", shape=("batch", "total_sequence")),)
    logits = (Tensor(name="logits", dtype="float32", shape=("batch", "sequence", 8)),)
    record = exported("decoder", inputs=ids + mask, outputs=logits)
    inputs = "int64[batch, sequence] input_ids, int64[batch, total_sequence] attention_mask, float[11, 8] table"
    whole = graph(
        f"g ({inputs}) => (float[batch, sequence, 8] logits) {{ logits = Gather(table, input_ids) }}", table=TABLE
    )

    def kept(index: str) -> ir.Model:
        return graph(
            f"""g ({inputs}, int64[batch, kept] logits_positions, int64 one) => (float[batch, kept, 8] logits) {{
                axis = Constant <value_ints = [-1]> ()
                earlier = Sub(logits_positions, one)
                index = Unsqueeze({index}, axis)
                x = Gather(table, input_ids)
                logits = GatherND <batch_dims = 1> (x, index)
            }}""",
            table=TABLE,
            one=np.array(1),
        )

    assert Guard(whole, record).judge(whole, kept("logits_positions"), lossy=False).reason == ""
    assert "logits" in Guard(whole, record).judge(whole, kept("earlier"), lossy=False).reason


def appending(table: np.ndarray) -> ir.Model:
    """A cache that gets what a table holds for each token."""
    model = graph(
        """g (int64[batch, sequence] input_ids, float[batch, 1, past_sequence, 4] past, float[11, 4] table,
        int64[1] axis) => (float[batch, 1, total_sequence, 4] present) {
            x = Gather(table, input_ids)
            new = Unsqueeze(x, axis)
            present = Concat <axis = 2> (past, new)
        }""",
        table=table,
        axis=np.array([1]),
    )
    model.graph.inputs[1].name, model.graph.outputs[0].name = "past_key_values.0.key", "present.0.key"
    return model


def test_of_a_cache_with_more_columns_only_those_of_real_tokens_count() -> None:
    ids = (Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),)
    present = (Tensor(name="present.0.key", dtype="float32", shape=("batch", 1, "total_sequence", 4)),)
    record = exported("decoder", inputs=ids, outputs=present)
    grown, scattered, other = appending(random(11, 4)), appending(random(11, 4)), appending(random(11, 4, seed=1))
    for model in (scattered, other):
        assert ScatterCache().apply(model, context(record))
    guard = Guard(grown, record)
    assert "present.0.key" in guard.judge(grown, other, lossy=False).reason
    assert guard.judge(grown, scattered, lossy=False) == Judgement(0.0)
    assert guard.judge(scattered, scattered.clone(), lossy=False) == Judgement(0.0)


def test_a_cache_may_become_float16_and_an_answer_may_not_become_a_whole_number() -> None:
    model = embedding()
    guard = Guard(model, exported())

    def cast(dtype: int) -> ir.Model:
        changed = embedding(f"w = MatMul(x, head)\n y = Cast <to = {dtype}> (w)")
        changed.graph.outputs[0].dtype = ir.DataType(dtype)
        return changed

    assert guard.judge(model, cast(10), lossy=True).reason == ""
    assert "int64" in guard.judge(model, cast(7), lossy=True).reason


def test_a_model_that_gives_nan_from_the_start_is_the_checkpoints_fault() -> None:
    with pytest.raises(CheckpointError, match='"y"'):
        Guard(embedding(table=np.full_like(TABLE, np.nan)), exported())


def test_a_portable_model_that_does_not_run_is_an_error() -> None:
    with pytest.raises(EngineError, match="NoSuchOperator"):
        Guard(embedding("y = NoSuchOperator(x)"), exported())
