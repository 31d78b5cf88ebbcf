"""The CUDA engine as far as a machine without a GPU goes: what it refuses, and the code that drives device memory."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from compiler import driver
from compiler.engines import engine
from compiler.engines.onnxruntime import cuda as onnxruntime_cuda
from compiler.engines.onnxruntime import installed
from compiler.engines.onnxruntime.cuda_graphs import SHAPES_KEPT
from compiler.engines.onnxruntime.native import open_native, session_options
from compiler.engines.onnxruntime.placement import describe
from compiler.engines.onnxruntime.placement_guard import refuse_assigned, refuse_strays, refuse_unloaded
from compiler.errors import ContextError, EngineError, EngineUnavailableError
from compiler.records import CacheShape, EngineOptions
from tests import models
from tests.engines.apart import CUDA, Apart, open_apart
from tests.engines.decoders import LAYOUTS, OPTIONS, TOKENS, cache, open_session
from tests.engines.test_onnxruntime_cpu import quantized

RECORDED = pytest.mark.parametrize("cuda_graph", [False, True], ids=["plain", "recorded"])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one GPU, for those who ask the driver."""
    monkeypatch.setattr(driver, "devices", lambda: ("a GPU",))
    monkeypatch.setattr(driver, "why_none", lambda: "")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "devices", lambda: ())
    monkeypatch.setattr(driver, "why_none", lambda: "libcuda.so.1 cannot be loaded")


def wheels(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(installed, "_version", lambda wheel: versions.get(wheel.replace("-", "_")))


def offers(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers, "CPUExecutionProvider"])


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_driver_says_why() -> None:
    with pytest.raises(EngineUnavailableError, match=r"libcuda\.so\.1 cannot be loaded"):
        engine("onnxruntime-cuda")
    with pytest.raises(EngineUnavailableError, match="no GPU"):
        onnxruntime_cuda.ready(EngineOptions())


@pytest.mark.usefixtures("gpu")
def test_a_gpu_of_another_number_is_not_there() -> None:
    onnxruntime_cuda.ready(EngineOptions(device=0))
    with pytest.raises(EngineUnavailableError, match=r"no GPU 1 here\n.*1, counted from 0"):
        onnxruntime_cuda.ready(EngineOptions(device=1))


@pytest.mark.usefixtures("gpu")
def test_the_cpu_wheel_alone_is_to_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    offers(monkeypatch)
    wheels(monkeypatch, onnxruntime="1.32.0")
    with pytest.raises(EngineUnavailableError, match=r"not CUDAExecutionProvider; replace it: pip uninstall -y onnxr"):
        engine("onnxruntime-cuda")


@pytest.mark.usefixtures("gpu")
def test_a_cpu_wheel_over_the_gpu_wheel_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    offers(monkeypatch)
    wheels(monkeypatch, onnxruntime="1.32.0", onnxruntime_gpu="1.31.1")
    with pytest.raises(EngineUnavailableError, match=r"onnxruntime 1\.32\.0 lies over onnxruntime-gpu 1\.31\.1"):
        engine("onnxruntime-cuda")


@pytest.mark.usefixtures("gpu")
def test_with_cuda_the_engine_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    offers(monkeypatch, "CUDAExecutionProvider")
    wheels(monkeypatch, onnxruntime="1.32.0", onnxruntime_gpu="1.31.1")
    assert engine("onnxruntime-cuda") is onnxruntime_cuda
    assert onnxruntime_cuda.serving(EngineOptions()).engine == "onnxruntime-cuda"


@pytest.mark.usefixtures("gpu")
def test_a_missing_wheel_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailableError, match="pip install onnxruntime-gpu"):
        engine("onnxruntime-cuda")


def test_a_session_is_opened_with_its_device_and_without_tf32() -> None:
    provider = onnxruntime_cuda.provider(EngineOptions(device=1, cuda_graph=True))
    assert provider.chain == [("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0", "enable_cuda_graph": "1"})]
    assert (provider.device, provider.device_id, provider.cuda_graph) == ("cuda", 1, True)


def test_a_provider_that_was_not_loaded_is_an_error(tmp_path: Path) -> None:
    models.encoder(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=r"could not load CUDAExecutionProvider.*\n.*found: +CPUExecutionProvider"):
        refuse_unloaded(CUDA, session.get_providers())
    with pytest.raises(EngineError, match="could not load CUDAExecutionProvider"):
        open_native(str(tmp_path / "model.onnx"), session_options(OPTIONS), CUDA)


def test_what_was_given_to_the_cpu_is_an_error_with_its_modules(tmp_path: Path) -> None:
    models.encoder(tmp_path / "model.onnx")
    native = session_options(OPTIONS)
    native.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), native, providers=["CPUExecutionProvider"])
    proto = onnx.load(tmp_path / "model.onnx")
    modules = {node.name: entry.value for node in proto.graph.node for entry in node.metadata_props}
    with pytest.raises(EngineError, match=r"on the CPU, not with CUDA") as caught:
        refuse_assigned(session, CUDA, modules)
    assert "3 MatMul (layer.0.q, layer.0.k, layer.0.v)" in caught.value.found
    assert "Gather" not in caught.value.found  # which tables of sizes are read with too: `describe` sees the types


def test_shape_arithmetic_may_be_given_to_the_cpu(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        sizes (int64[batch, sequence] ids) => (int64[n] positions)
        {
            sizes = Shape <start = 1, end = 2> (ids)
            zero = Constant <value = int64 {0}> ()
            one = Constant <value = int64 {1}> ()
            length = Squeeze (sizes)
            positions = Range (zero, length, one)
        }
    """)
    onnx.save(model, tmp_path / "model.onnx")
    native = session_options(OPTIONS)
    native.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), native, providers=["CPUExecutionProvider"])
    refuse_assigned(session, CUDA, {})
    refuse_strays(describe(tmp_path / "model.onnx", OPTIONS, {"ids": np.zeros((1, 4), np.int64)}), CUDA)


def test_what_ran_on_the_cpu_is_an_error_with_its_precision(tmp_path: Path) -> None:
    quantized(tmp_path / "model.onnx")
    rows = describe(tmp_path / "model.onnx", OPTIONS, {"x": np.ones((2, 32), np.float32)})
    with pytest.raises(EngineError, match="nothing but shape arithmetic") as caught:
        refuse_strays(rows, CUDA)
    assert "1 MatMulNBits int4 weights (head)" in caught.value.found
    assert "1 MatMulInteger int8 (proj)" in caught.value.found


@RECORDED
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_apart_gives_the_same_logits(folders: dict[str, Path], layout: str, cuda_graph: bool) -> None:
    """Rows of unequal length that are left out, repeated and reordered, and one that goes back."""
    found = [
        conversation(session, layout)
        for session in (open_session(folders[layout]), open_apart(folders[layout], cuda_graph=cuda_graph))
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def conversation(session: object, layout: str) -> list[np.ndarray]:
    decoding = session.decode(cache(layout), 3, 20)  # type: ignore[attr-defined]
    lengths = np.array([3, 7, 5])
    found = [decoding.step(np.where(np.arange(7) < lengths[:, None], TOKENS[:21].reshape(3, 7), 0), lengths).copy()]
    for rows in ([0, 1, 2], [0, 1, 2], [2, 1, 0], [2, 0, 0, 1], [0, 1, 2, 3], [3]):
        decoding.select(np.array(rows))
        lengths = lengths[rows] + 1
        found.append(decoding.step(TOKENS[: len(rows), None], lengths).copy())
    decoding.truncate(4)
    found.append(decoding.step(TOKENS[None, 5:8], np.array([7])).copy())
    found.append(decoding.step(TOKENS[None, 8:9], np.array([8])).copy())
    return found


@RECORDED
def test_the_callers_constants_are_left_alone(tmp_path: Path, cuda_graph: bool) -> None:
    adds_bias(tmp_path / "model.onnx")
    bias = np.array([[1, 2], [3, 4]], np.float32)
    none = CacheShape(layers=0, kv_heads=1, head_dim=1, layout="shared")
    decoding = open_apart(tmp_path, cuda_graph=cuda_graph).decode(none, 2, 16, {"bias": bias})
    assert decoding.step(np.array([[10], [20]]), np.array([1, 1])).tolist() == [[11, 12], [23, 24]]
    decoding.select(np.array([1, 0]))
    assert decoding.step(np.array([[0], [1]]), np.full(2, 2)).tolist() == [[3, 4], [2, 3]]
    decoding.select(np.array([1, 1, 0]))
    assert decoding.step(np.array([[0], [1], [2]]), np.full(3, 3)).tolist() == [[1, 2], [2, 3], [5, 6]]
    assert bias.tolist() == [[1, 2], [3, 4]]


def adds_bias(path: Path) -> None:
    """A model that adds up its token and a bias of its row."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        sum (int64[batch, sequence] input_ids, float[batch, 2] bias) => (float[batch, sequence, 2] logits)
        {
            one = Constant <value = int64[1] {1}> ()
            two = Constant <value = int64[1] {2}> ()
            row = Unsqueeze (bias, one)
            number = Cast <to = 1> (input_ids)
            token = Unsqueeze (number, two)
            logits = Add (token, row)
        }
    """)
    onnx.save(model, path)


def half_cache(path: Path, columns: int) -> None:
    """A float16 cache of fixed capacity, written with TensorScatter; the logits are its sum, float16 too."""
    value = helper.make_tensor_value_info
    half, integers, boxed = onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64, ["batch", 1, columns, 1]
    names = [f"{kind}.0.{part}" for kind in ("past_key_values", "present") for part in ("key", "value")]
    nodes = [
        helper.make_node("Slice", ["position_ids", "zero", "one", "one"], ["first"]),
        helper.make_node("Squeeze", ["first", "one"], ["where"]),
        helper.make_node("Cast", ["input_ids"], ["number"], to=half),
        helper.make_node("Unsqueeze", ["number", "box"], ["new"]),
        helper.make_node("TensorScatter", [names[0], "new", "where"], [names[2]], axis=-2),
        helper.make_node("TensorScatter", [names[1], "new", "where"], [names[3]], axis=-2),
        helper.make_node("ReduceSum", [names[2], "inner"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["sum", "two"], ["logits"]),
    ]
    constants = {"zero": [0], "one": [1], "two": [2], "box": [1, 3], "inner": [1, 2]}
    graph = helper.make_graph(
        nodes,
        "half",
        [
            *(value(name, integers, ["batch", "sequence"]) for name in ("input_ids", "position_ids")),
            value("logits_positions", integers, ["batch", "kept"]),
            *(value(name, half, boxed) for name in names[:2]),
        ],
        [value("logits", half, ["batch", 1, 1]), *(value(name, half, boxed) for name in names[2:])],
        [onnx.numpy_helper.from_array(np.array(numbers), name) for name, numbers in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11), path)


@pytest.mark.parametrize("apart", [False, True])
def test_a_float16_cache_of_fixed_capacity(tmp_path: Path, apart: bool) -> None:
    half_cache(tmp_path / "model.onnx", 8)
    session = open_apart(tmp_path, cuda_graph=False) if apart else open_session(tmp_path)
    shape = CacheShape(layers=1, kv_heads=1, head_dim=1, layout="shared", dtype="float16", capacity=8)
    decoding = session.decode(shape, 2, 6)
    assert decoding.capacity == 6
    logits = decoding.step(np.array([[1, 2], [10, 20]]), np.array([2, 2]))
    assert (logits.dtype, logits.tolist()) == (np.float32, [[3], [30]])
    decoding.select(np.array([1]))
    assert decoding.step(np.array([[7]]), np.array([3])).tolist() == [[37]]
    decoding.truncate(1)
    assert decoding.step(np.array([[5]]), np.array([2])).tolist() == [[22]]  # 10 + 5 + 7, which a mask would hide
    with pytest.raises(ContextError, match=r"9 tokens\n.*at most 8"):
        session.decode(shape, 1, 9)


def test_calls_of_shapes_that_come_again_are_recorded_with_the_same_answers(tmp_path: Path) -> None:
    models.encoder(tmp_path / "model.onnx")
    plain, recorded = open_session(tmp_path), open_apart(tmp_path, cuda_graph=True)
    random = np.random.default_rng(0)
    for number in range(3 * (SHAPES_KEPT + 2)):
        ids = random.integers(6, models.VOCABULARY, (1 + number % 2, 3 + number % (SHAPES_KEPT + 2)))
        feeds = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
        again = recorded.run(feeds)
        np.testing.assert_allclose(recorded.run(feeds)["last_hidden_state"], again["last_hidden_state"])
        np.testing.assert_allclose(again["last_hidden_state"], plain.run(feeds)["last_hidden_state"], atol=1e-5)


def test_an_answer_is_not_overwritten_by_the_next_call(tmp_path: Path) -> None:
    models.encoder(tmp_path / "model.onnx")
    session = open_apart(tmp_path, cuda_graph=True)
    answers = []
    for first in range(6, 10):
        ids = np.full((1, 4), first)
        answers.append(session.run({"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}))
    states = [answer["last_hidden_state"] for answer in answers]
    assert all(not np.allclose(one, other) for one, other in itertools.pairwise(states))


def test_apart_is_not_the_cpu_itself() -> None:
    assert Apart() != CUDA
    assert not Apart().on_host
