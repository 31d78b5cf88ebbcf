"""TensorRT builds what these passes write, for GPUs that compute with the format, and for no others."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.engines.plans.capabilities import check_formats
from compiler.engines.plans.shapes import input_shapes
from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.builder import network, settings, sources
from compiler.errors import EngineUnavailableError
from compiler.optimize.files import save
from compiler.optimize.passes import Context, Pass
from compiler.optimize.passes.mixed_precision import MixedPrecision
from compiler.optimize.quantize.static import QuantizeStatic
from compiler.optimize.quantize.weights_dq import QuantizeWeightsDq
from compiler.optimize.signature import tensors
from compiler.records import PlanOptions
from tests.optimize.graphs import exported, graph, operators, random

LAYER = """g (float[batch, sequence, 128] x, float[128, 128] wq, float[128, 128] wk, float[128, 128] wv,
           float[128, 128] wo, float[128, 256] wu, float[256] b, float[256, 128] wd)
    => (float[batch, sequence, 128] last_hidden_state) {
    q = MatMul(x, wq)
    k = MatMul(x, wk)
    v = MatMul(x, wv)
    turned = Transpose <perm = [0, 2, 1]> (k)
    scores = MatMul(q, turned)
    seen = Softmax <axis = -1> (scores)
    mixed = MatMul(seen, v)
    out = MatMul(mixed, wo)
    states = Add(x, out)
    up = MatMul(states, wu)
    biased = Add(up, b)
    active = Relu(biased)
    down = MatMul(active, wd)
    last_hidden_state = Add(states, down)
}"""
SHAPES = {"wq": (128, 128), "wk": (128, 128), "wv": (128, 128), "wo": (128, 128), "wu": (128, 256), "wd": (256, 128)}
PASSES: dict[str, Pass] = {
    "int8": QuantizeStatic(format="int8", smooth=True),
    "float8": QuantizeStatic(format="float8"),
    "int8 weights": QuantizeWeightsDq(format="int8"),
    "int4 weights": QuantizeWeightsDq(),
    "float4 weights": QuantizeWeightsDq(format="float4"),
}


def lowered(pass_: Pass) -> ir.Model:
    """The layer, quantized and then in float16."""
    weights = {name: random(*shape, seed=seed) / 11 for seed, (name, shape) in enumerate(SHAPES.items())}
    model = graph(LAYER, **weights, b=random(256, seed=9))
    context = Context(exported(), lambda: [{"x": random(2, 12, 128)}])
    for each in (pass_, MixedPrecision()):
        assert each.apply(model, context)
        RemoveUnusedNodesPass()(model)
    return model


def plan(model: ir.Model, folder: Path, target: str) -> object:
    """A plan by TensorRT for RTX, or None; no format is refused before."""
    save(model, folder / "model.onnx")
    flavor = flavors.flavor_for(target)
    parsed = network.parse(flavor, sources.read(folder / "model.onnx"))
    shapes = input_shapes({"batch": (1, 1, 4), "sequence": (1, 16, 32)}, tensors(model.graph.inputs))
    config = settings.configure(flavor, parsed.builder, PlanOptions(), target, [shapes])
    with flavors.messages():
        return parsed.builder.build_serialized_network(parsed.network, config)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("int8", ("sm75", "sm86", "sm89", "sm120")),
        ("float8", ("sm89", "sm120")),
        ("int8 weights", ("sm86", "sm89", "sm120")),
        ("int4 weights", ("sm86", "sm89", "sm120")),
        ("float4 weights", ("sm120",)),
    ],
)
def test_gpus_that_compute_with_the_format_get_plans(name: str, targets: tuple[str, ...], tmp_path: Path) -> None:
    model = lowered(PASSES[name])
    for target in targets:
        check_formats([target], PASSES[name].formats)
        assert plan(model, tmp_path / target, target) is not None, target


@pytest.mark.parametrize(("name", "target"), [("float8", "sm86"), ("int4 weights", "sm75"), ("float4 weights", "sm89")])
def test_gpus_that_do_not_are_refused_by_us_and_by_tensorrt(name: str, target: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="cannot compute with"):
        check_formats([target], PASSES[name].formats)
    assert plan(lowered(PASSES[name]), tmp_path, target) is None


@pytest.mark.parametrize("name", PASSES)
def test_products_of_activations_stay_as_they_were(name: str) -> None:
    model = lowered(PASSES[name])
    plain = [
        node
        for node in model.graph
        if node.op_type == "MatMul"
        and all(value.producer().op_type != "DequantizeLinear" for value in node.inputs if value and value.producer())  # type: ignore[union-attr]
    ]
    assert len(plain) == 2
    assert operators(model)["MatMul"] == 8


@pytest.mark.parametrize("name", PASSES)
def test_all_products_are_in_float16_afterwards(name: str) -> None:
    """Every scale was one that float16 holds, so mixed precision left no quantized product behind."""
    model = lowered(PASSES[name])
    scales = [
        node.inputs[1].const_value.dtype  # type: ignore[union-attr]
        for node in model.graph
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.inputs[1].const_value is not None  # type: ignore[union-attr]
    ]
    assert scales
    assert set(scales) == {ir.DataType.FLOAT16}
