from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from compiler.errors import PassError
from compiler.optimize.files import save
from compiler.optimize.lower import Observer, optimize
from compiler.optimize.passes import Context, Pass
from compiler.optimize.passes.fold_constants import FoldConstants
from compiler.records import Graph, Optimized, PassRun, Tensor
from tests.optimize.graphs import exported, graph, random

HEAD = random(8, 8, seed=1)


@dataclass(frozen=True)
class Scale(Pass):
    """Multiplies the last weight: a pass that changes answers."""

    name: ClassVar[str] = "scale"
    factor: float = 2.0

    def apply(self, model: ir.Model, context: Context) -> bool:
        value = model.graph.initializers["head"]
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(self.factor), name="head")
        return True


@dataclass(frozen=True)
class Spoil(Scale):
    """Claims to quantize, and gives NaN."""

    name: ClassVar[str] = "spoil"
    lossy: ClassVar[bool] = True
    factor: float = float("nan")


@dataclass(frozen=True)
class Crash(Pass):
    """Rewrites half the graph, and fails."""

    name: ClassVar[str] = "crash"

    def apply(self, model: ir.Model, context: Context) -> bool:
        Scale().apply(model, context)
        raise ZeroDivisionError("by a head of width 0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = graph(
        """g (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask, float[11, 8] table,
        float[8, 8] head) => (float[batch, sequence, 8] y) {
            x = Gather(table, input_ids)
            same = Identity(x)
            turned = Transpose <perm = [1, 0]> (head)
            y = MatMul(same, turned)
        }""",
        table=random(11, 8),
        head=HEAD,
    )
    model.graph[3].metadata_props["module"] = "encoder.head"
    model.graph[3].metadata_props["stack_trace"] = "File model.py, line 3"
    path = tmp_path / "exported"
    path.mkdir()
    ir.save(model, path / "model.onnx")
    return path


def lower(folder: Path, *passes: Pass, strict: bool = False, observers: tuple[Observer, ...] = ()) -> Optimized:
    return optimize(
        folder,
        exported(),
        passes,
        profile_name="test",
        precision="float32",
        out=folder.parent / "out",
        calibration=list,
        observers=observers,
        strict=strict,
    )


def run(folder: Path) -> np.ndarray:
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = {"input_ids": np.array([[1, 2, 3]]), "attention_mask": np.ones((1, 3), np.int64)}
    result: np.ndarray = session.run(None, feeds)[0]
    return result


def test_the_lowered_model_is_written(folder: Path) -> None:
    optimized = lower(folder, FoldConstants())
    out = folder.parent / "out"
    assert optimized.op_counts == {"Gather": 1, "MatMul": 1}
    assert [tensor.name for tensor in optimized.inputs] == ["input_ids", "attention_mask"]
    assert optimized.outputs == exported().outputs
    (done,) = optimized.passes
    assert (done.name, done.modified, done.kept, done.nodes_before, done.nodes_after) == (
        "fold-constants",
        True,
        True,
        4,
        2,
    )
    assert done.options == {"largest": 1024}
    np.testing.assert_allclose(run(out), run(folder), atol=1e-6)


def test_only_module_paths_stay_in_the_metadata(folder: Path) -> None:
    lower(folder, FoldConstants())
    nodes = list(ir.load(folder.parent / "out" / "model.onnx").graph)
    assert [dict(node.metadata_props) for node in nodes] == [{}, {"module": "encoder.head"}]


def test_a_pass_that_changes_answers_is_named_and_undone(folder: Path) -> None:
    optimized = lower(folder, FoldConstants(), Scale(), FoldConstants())
    first, second, third = optimized.passes
    assert (first.kept, second.kept, third.kept) == (True, False, True)
    assert second.error == pytest.approx(1.0)
    assert '"y"' in second.reason
    assert not third.modified
    np.testing.assert_allclose(run(folder.parent / "out"), run(folder), atol=1e-6)


def test_strict_names_the_pass_the_output_and_what_came_before(folder: Path) -> None:
    with pytest.raises(PassError) as caught:
        lower(folder, FoldConstants(), Scale(), strict=True)
    assert '"scale"' in str(caught.value)
    assert '"y" changed by 1.0e+00' in str(caught.value)
    assert "fold-constants" in caught.value.expected
    assert not (folder.parent / "out").exists()


def test_a_pass_that_raises_is_undone_and_recorded(folder: Path) -> None:
    optimized = lower(folder, Crash())
    (done,) = optimized.passes
    assert not done.kept
    assert done.reason == "ZeroDivisionError: by a head of width 0"
    np.testing.assert_array_equal(run(folder.parent / "out"), run(folder))


def test_strict_keeps_the_cause_of_a_crash(folder: Path) -> None:
    with pytest.raises(PassError, match="by a head of width 0") as caught:
        lower(folder, Crash(), strict=True)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_precision_that_cannot_be_had_is_never_left_out(folder: Path) -> None:
    with pytest.raises(PassError, match="NaN") as caught:
        lower(folder, Spoil())
    assert "--precision" in caught.value.action
    assert not (folder.parent / "out" / "model.onnx").exists()


def test_observers_see_every_pass_and_the_graph_after_it(folder: Path) -> None:
    seen: list[tuple[str, int]] = []

    def observe(model: ir.Model, done: PassRun) -> None:
        seen.append((done.name, len(model.graph)))

    lower(folder, FoldConstants(), Scale(), observers=(observe,))
    assert seen == [("fold-constants", 2), ("scale", 2)]


def test_weights_lie_beside_the_model_in_one_file(tmp_path: Path) -> None:
    model = graph(
        "g (float[batch, 32] x, float[32, 32] w) => (float[batch, 32] y) { y = MatMul(x, w) }", w=random(32, 32)
    )
    save(model, tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert (tmp_path / "model.onnx.data").stat().st_size >= 32 * 32 * 4


@dataclass(frozen=True)
class Look(Pass):
    """Keeps what it was given to calibrate on."""

    name: ClassVar[str] = "look"
    seen: ClassVar[list[dict[str, np.ndarray]]] = []

    def apply(self, model: ir.Model, context: Context) -> bool:
        self.seen.extend(context.calibration())
        return False


def test_a_decoder_is_calibrated_on_what_its_encoder_makes_of_the_texts(tmp_path: Path) -> None:
    cross = Tensor(name="cross_key_values.0.key", dtype="float32", shape=("batch", 1, "encoder_sequence", 4))
    text = ("batch", "encoder_sequence")
    asked = tuple(Tensor(name=name, dtype="int64", shape=text) for name in ("input_ids", "attention_mask"))
    encoder = graph(
        """g (int64[batch, encoder_sequence] input_ids, int64[batch, encoder_sequence] attention_mask,
        float[11, 4] table, int64[1] axis) => (float[batch, 1, encoder_sequence, 4] cross) {
            x = Gather(table, input_ids)
            cross = Unsqueeze(x, axis)
        }""",
        table=random(11, 4),
        axis=np.array([1]),
    )
    encoder.graph.outputs[0].name = cross.name
    decoder = graph(
        """g (int64[batch, sequence] input_ids, float[batch, 1, encoder_sequence, 4] cross, float[11, 4] table)
        => (float[batch, sequence, 4] y) {
            sum = ReduceSum <keepdims = 0> (cross)
            x = Gather(table, input_ids)
            y = Add(x, sum)
        }""",
        table=random(11, 4),
    )
    decoder.graph.inputs[1].name = cross.name
    save(encoder, tmp_path / "encoder.onnx")
    save(decoder, tmp_path / "model.onnx")
    record = exported(
        "encoder-decoder",
        inputs=(Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")), cross),
        encoder=Graph(model="encoder.onnx", inputs=asked, outputs=(cross,)),
    )
    ids = np.array([[1, 2, 3], [4, 5, 0]])
    feed = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
    Look.seen.clear()
    optimize(
        tmp_path,
        record,
        [Look()],
        profile_name="p",
        precision="float32",
        out=tmp_path / "out",
        calibration=lambda: [feed],
    )
    first, second = Look.seen
    assert cross.name not in first
    np.testing.assert_array_equal(second[cross.name], random(11, 4)[ids][:, None])
    np.testing.assert_array_equal(second["encoder_attention_mask"], feed["attention_mask"])
