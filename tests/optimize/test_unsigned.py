"""What a pass makes for VNNI is judged by VNNI's numbers, whatever this machine multiplies with."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize import execute
from compiler.optimize.execute import Executor
from compiler.optimize.guard import Guard
from compiler.optimize.quantize.dynamic import QuantizeDynamic
from compiler.optimize.quantize.per_token import QuantizePerToken
from compiler.optimize.unsigned import unsigned
from tests.optimize.graphs import VNNI, context, exported, graph, operators, random
from tests.optimize.quantize.lossy import error

# All of one sign, so that two products of 8 bits do not fit 16: what adds them there is wrong by up to 10 %.
X, W = np.abs(random(2, 5, 256)), np.abs(random(256, 256, seed=1))
SHARED = """g (float[batch, sequence, 256] x, float[256, 256] w) => (float[batch, sequence, 256] y) {
    hidden = MatMul(x, w)
    y = MatMul(hidden, w)
}"""


@pytest.fixture(params=[True, False], ids=["without VNNI", "as here"])
def _machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(execute, "saturates", lambda *_: True)


@pytest.mark.usefixtures("_machine")
def test_the_numbers_are_sums_of_whole_numbers_in_32_bits() -> None:
    model = graph(
        """g (uint8[5, 64] a, int8[64, 24] b, float s, float[24] t, uint8 z, float[24] bias) => (float[5, 24] y) {
            y = com.microsoft.MatMulIntegerToFloat(a, b, s, t, z, , bias)
        }""",
        b=np.full((64, 24), 127, np.int8) - np.arange(24, dtype=np.int8),
        s=np.array(0.5, np.float32),
        t=np.geomspace(0.1, 1, 24).astype(np.float32),
        z=np.array(3, np.uint8),
        bias=random(24),
    )
    a = np.random.default_rng(2).integers(200, 256, (5, 64)).astype(np.uint8)
    b, t, bias = (model.graph.initializers[name].const_value.numpy() for name in ["b", "t", "bias"])  # type: ignore[union-attr]
    whole = (a.astype(np.int32) - 3) @ b.astype(np.int32)
    (found,) = Executor().run(model, [{"a": a}])
    np.testing.assert_allclose(found["y"], whole * (np.float32(0.5) * t) + bias, rtol=1e-6)


@pytest.mark.usefixtures("_machine")
@pytest.mark.parametrize("pass_", [QuantizeDynamic(), QuantizePerToken()], ids=lambda each: each.name)
def test_products_that_would_overflow_are_right_those_of_one_weight_too(
    pass_: QuantizeDynamic | QuantizePerToken,
) -> None:
    assert error(pass_, graph(SHARED, w=W), {"x": X}, target=VNNI) < 0.003  # overflowing: 0.028 and 0.099


@pytest.mark.usefixtures("_machine")
def test_the_guard_records_the_error_of_exact_products() -> None:
    model = graph(
        """g (int64[batch, sequence] input_ids, float[11, 256] table, float[256, 256] w)
            => (float[batch, sequence, 256] y) {
            x = Gather(table, input_ids)
            hidden = MatMul(x, w)
            y = MatMul(hidden, w)
        }""",
        table=np.abs(random(11, 256, seed=3)),
        w=W,
    )
    guard = Guard(model, exported())
    after = model.clone()
    assert QuantizeDynamic().apply(after, context(target=VNNI))
    RemoveUnusedNodesPass()(after)
    judgement = guard.judge(model, after, lossy=True)
    assert judgement.error is not None
    assert 0 < judgement.error < 0.005


def test_a_weight_becomes_uint8_once_and_its_int8_goes() -> None:
    model = graph(SHARED, w=W)
    QuantizeDynamic().apply(model, context(target=VNNI))
    codes = model.graph.initializers["w.int8"].const_value.numpy()  # type: ignore[union-attr]
    unsigned(model)
    eight_bits = {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes == codes.nbytes
    }
    assert list(eight_bits) == ["w.int8.unsigned"]
    np.testing.assert_array_equal(eight_bits["w.int8.unsigned"].astype(int) - 128, codes)
    assert operators(model) == {"DynamicQuantizeMatMul": 2}


def test_other_products_stay_as_they_are() -> None:
    model = graph(SHARED, w=W)
    before = ir.to_proto(model).SerializeToString()
    unsigned(model)
    assert ir.to_proto(model).SerializeToString() == before
