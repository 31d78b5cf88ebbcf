from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.engines import engine
from compiler.engines.onnxruntime import native
from compiler.engines.onnxruntime.placement import describe
from compiler.errors import EngineError, EngineUnavailableError
from compiler.machine import detect
from compiler.records import Exported, Optimized, Placement, Source, Tensor
from tests import models
from tests.engines.decoders import LAYOUTS, OPTIONS, cache, open_session


def test_a_model_without_logits_cannot_generate(tmp_path: Path) -> None:
    models.encoder(tmp_path / "model.onnx")
    with pytest.raises(EngineError, match="cannot generate"):
        open_session(tmp_path).decode(cache("shared"), 1, 4)


def test_a_broken_model_gives_the_engines_reason(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"cannot open .*model\.onnx\n.*Protobuf"):
        open_session(tmp_path)


def test_a_failing_run_gives_the_engines_reason(tmp_path: Path) -> None:
    models.encoder(tmp_path / "model.onnx")
    beyond = np.array([[models.VOCABULARY + 5]])
    with pytest.raises(EngineError, match="out of"):
        open_session(tmp_path).run(
            {"input_ids": beyond, "attention_mask": beyond * 0 + 1, "token_type_ids": beyond * 0}
        )


def test_a_missing_wheel_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailableError, match="pip install onnxruntime"):
        engine("onnxruntime-cpu")


def quantized(path: Path) -> None:
    """Gather, a float32, an int8 and a 4-bit matrix product, and one with an addition that gets fused."""
    random = np.random.default_rng(0)
    floats = {name: random.normal(size=(32, 32)).astype(np.float32) for name in ("w", "b")}
    weights = [numpy_helper.from_array(array, name) for name, array in floats.items()]
    weights += [
        numpy_helper.from_array(random.integers(-99, 99, (32, 32), np.int8), "w8"),
        numpy_helper.from_array(random.integers(0, 255, (32, 1, 16), np.uint8), "w4"),
        numpy_helper.from_array(np.ones(32, np.float32), "s4"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b0"], ["a"]),
        helper.make_node("DynamicQuantizeLinear", ["a"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w8", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=1),
        helper.make_node("MatMulNBits", ["f", "w4", "s4"], ["y"], domain="com.microsoft", K=32, N=32, bits=4,
                         block_size=32),
    ]  # fmt: skip
    weights.append(numpy_helper.from_array(floats["b"][0], "b0"))
    for node, module in zip(nodes, ("lin", "lin", "proj", "proj", "proj", "head"), strict=True):
        node.metadata_props.add(key="module", value=module)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, ["n", 32])], [value("y", 1, ["n", 32])], weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10),
        path,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )


def test_describe_tells_what_really_ran(tmp_path: Path) -> None:
    quantized(tmp_path / "model.onnx")
    rows = describe(tmp_path / "model.onnx", OPTIONS, {"x": np.ones((2, 32), np.float32)})
    found = {row.operator: row for row in rows}
    assert found["Gemm"].modules == ("lin",)
    assert found["Gemm"].precision == "float32"
    assert found["MatMulInteger"].precision == "int8"
    assert found["MatMulNBits"].precision == "int4 weights"
    assert found["MatMulNBits"].modules == ("head",)
    assert "Add" not in found
    assert {row.provider for row in rows} == {"CPUExecutionProvider"}
    assert sum(row.time_share for row in rows) == pytest.approx(1, abs=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]


def optimized(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], layout: str = "") -> Optimized:
    shape = cache(layout) if layout else None
    exported = Exported(
        source=Source(kind="folder", name="x", digest="0"),
        task="text-generation" if layout else "feature-extraction",
        kind="decoder" if layout else "encoder",
        architecture="Tiny",
        model_type="tiny",
        model="model.onnx",
        opset=23,
        inputs=inputs,
        outputs=outputs,
        parameters=1,
        context_length=models.CONTEXT,
        vocabulary=models.VOCABULARY,
        seconds=0,
        versions={},
        cache=shape,
    )
    return Optimized(
        exported=exported,
        profile="test",
        precision="float32",
        model="model.onnx",
        inputs=inputs,
        outputs=outputs,
        passes=(),
        op_counts={},
        cache=shape,
        seconds=0,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_build_copies_and_describes_a_decoder(folders: dict[str, Path], tmp_path: Path, layout: str) -> None:
    record = optimized(*models.decoder_signature(layout == "shared"), layout)
    built = engine("onnxruntime-cpu").build(record, folders[layout], tmp_path, OPTIONS)
    assert built.files == ("model.onnx",)
    assert (tmp_path / "model.onnx").read_bytes() == (folders[layout] / "model.onnx").read_bytes()
    attention: dict[str, Placement] = {row.operator: row for row in built.placement}
    operator = "GroupQueryAttention" if layout == "shared" else "Attention"
    assert attention[operator].count == models.LAYERS
    assert attention[operator].modules == tuple(f"model.layers.{layer}.self_attn" for layer in range(models.LAYERS))


def test_build_copies_external_data(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    quantized(tmp_path / "model.onnx")
    shape = ("batch", 32)
    record = optimized(
        (Tensor(name="x", dtype="float32", shape=shape),), (Tensor(name="y", dtype="float32", shape=shape),)
    )
    built = engine("onnxruntime-cpu").build(record, tmp_path, tmp_path / "out", OPTIONS)
    assert built.files == ("model.onnx", "model.onnx.data")
    session = open_session(tmp_path / "out")
    assert session.run({"x": np.ones((3, 32), np.float32)})["y"].shape == (3, 32)


def test_build_of_a_broken_model_gives_the_reason(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineError, match="cannot"):
        engine("onnxruntime-cpu").build(optimized((), ()), tmp_path, tmp_path / "out", OPTIONS)


def overflowing(path: Path, shared: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A model of int8 products in the forms that passes write them, with weights of 8 bits; its input and answers.

    Two of its codes' products are beyond 16 bits throughout.
    """
    random = np.random.default_rng(0)
    x = random.uniform(0.9, 1, (7, 64)).astype(np.float32)
    codes = random.integers(120, 127, (64, 32)).astype(np.int8)
    scale = np.full(32, 0.01, np.float32)
    constants = {
        **{f"w{index}": codes for index in range(1 if shared else 4)},
        "s": scale,
        "step": np.array(1 / 127, np.float32),
        "zero": np.array(128, np.uint8),
        "level": np.array(0, np.int8),
    }
    microsoft = {"domain": "com.microsoft"}
    w0, w1, w2, w3 = ["w0"] * 4 if shared else ["w0", "w1", "w2", "w3"]
    nodes = [
        helper.make_node("DynamicQuantizeMatMul", ["x", w0, "s"], ["y0"], **microsoft),
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
        helper.make_node("MatMulIntegerToFloat", ["q", w1, "step", "s", "zero"], ["y1"], **microsoft),
    ]
    for index, weight, zero in ((2, w2, "zero"), (3, w3, "level")):
        nodes += [
            helper.make_node("DequantizeLinear", [weight, "s"], [f"w{index}.restored"], axis=1),
            helper.make_node("QuantizeLinear", ["x", "step", zero], [f"q{index}"]),
            helper.make_node("DequantizeLinear", [f"q{index}", "step", zero], [f"d{index}"]),
            helper.make_node("MatMul", [f"d{index}", f"w{index}.restored"], [f"y{index}"]),
        ]
    graph = helper.make_graph(
        nodes,
        "overflowing",
        [helper.make_tensor_value_info("x", 1, ["batch", 64])],
        [helper.make_tensor_value_info(f"y{index}", 1, ["batch", 32]) for index in range(4)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return x, x @ (codes * scale)


def test_8_bit_weights_are_multiplied_exactly_on_every_processor(tmp_path: Path) -> None:
    x, expected = overflowing(tmp_path / "model.onnx")
    for name, found in open_session(tmp_path).run({"x": x}).items():
        assert np.abs(found - expected).max() < 0.01 * expected.max(), name


def test_8_bit_weights_that_products_share_are_refused_rather_than_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overflowing(tmp_path / "model.onnx", shared=True)
    monkeypatch.setattr(native, "detect", lambda: msgspec.structs.replace(detect(), architecture="x86_64", features=()))
    with pytest.raises(EngineError, match="without VNNI"):
        open_session(tmp_path)


@pytest.mark.parametrize(
    ("features", "signed"), [(("avx2",), False), (("avx2", "avx512_vnni"), True), (("avx2", "avx_vnni"), True)]
)
def test_8_bit_weights_stay_signed_only_where_vnni_is(
    features: tuple[str, ...], signed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overflowing(tmp_path / "model.onnx")
    machine = msgspec.structs.replace(detect(), architecture="x86_64", features=features)
    monkeypatch.setattr(native, "detect", lambda: machine)
    options = native.session_options(OPTIONS)
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    native.open_native(str(tmp_path / "model.onnx"), options)
    types = {
        weight.data_type
        for weight in onnx.load(tmp_path / "optimized.onnx").graph.initializer
        if weight.dims == [64, 32]
    }
    assert types == {TensorProto.INT8 if signed else TensorProto.UINT8}
