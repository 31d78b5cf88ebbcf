"""last-token-logits: where the gather goes, and that the wanted logits are the same."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from compiler.optimize.passes.base import Context
from compiler.optimize.passes.last_token_logits import INPUT, LastTokenLogits
from tests.optimize.cached import EXPORTED

MODEL = """
<ir_version: 10, opset_import: ["" : 23]>
head (float[batch, sequence, 4] hidden, float[4, 6] weight) => (float[batch, sequence, 6] logits{extra})
<float cap = {{30.0}}>
{{
    product = MatMul (hidden, weight)
    scaled = Div (product, cap)
    soft = Tanh (scaled)
    logits = Mul (soft, cap)
    {also}
}}
"""


def model(extra: str = "", also: str = "") -> ir.Model:
    return ir.from_onnx_text(MODEL.format(extra=extra, also=also))


def apply(subject: ir.Model) -> bool:
    return LastTokenLogits().apply(subject, Context(exported=EXPORTED, calibration=list))


def run(subject: ir.Model, **extra: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(3)
    feeds = {
        "hidden": random.standard_normal((2, 5, 4)).astype(np.float32),
        "weight": random.standard_normal((4, 6)).astype(np.float32),
        **extra,
    }
    session = ort.InferenceSession(ir.to_proto(subject).SerializeToString())
    return np.asarray(session.run(["logits"], feeds)[0])


def test_gathers_before_the_head_and_gives_the_same_logits() -> None:
    expected = run(model())
    subject = model()
    assert apply(subject)
    assert [node.op_type for node in subject.graph][:3] == ["Unsqueeze", "GatherND", "MatMul"]
    assert [str(dim) for dim in subject.graph.outputs[0].shape or ()] == ["batch", "kept", "6"]
    positions = np.array([[4, 0], [2, 1]], np.int64)
    found = run(subject, **{INPUT: positions})
    np.testing.assert_allclose(found, np.take_along_axis(expected, positions[..., None], axis=1), rtol=1e-6)


def test_a_second_run_changes_nothing() -> None:
    subject = model()
    apply(subject)
    assert not apply(subject)


def test_a_head_whose_product_is_read_elsewhere_is_left_alone() -> None:
    subject = model(", float[batch, sequence, 6] again", "again = Relu (scaled)")
    assert not apply(subject)
    assert INPUT not in [value.name for value in subject.graph.inputs]
