from __future__ import annotations

from msgspec.structs import replace

from compiler.records import Built, EngineOptions, Exported, Finding, Optimized, PassRun, Placement, Source
from compiler.report import certificate
from tests.report.test_page import BAD, GOOD, MACHINE
from tests.report.test_page import certificate as sample

EXPORTED = Exported(
    source=Source(kind="folder", name="models/example", digest="ab" * 32),
    task="feature-extraction",
    kind="encoder",
    architecture="BertModel",
    model_type="bert",
    model="model.onnx",
    opset=23,
    inputs=(),
    outputs=(),
    parameters=1,
    context_length=512,
    vocabulary=100,
    seconds=1.0,
    versions={"torch": "2.13.0"},
)
PASS = PassRun(name="x", options={}, modified=True, kept=True, nodes_before=2, nodes_after=1, seconds=0.1)
OPTIMIZED = Optimized(
    exported=EXPORTED,
    profile="cpu-x86-avx2",
    precision="int8-dynamic",
    model="model.onnx",
    inputs=(),
    outputs=(),
    passes=(PASS,),
    op_counts={},
    seconds=1.0,
)
PLACEMENT = Placement(operator="MatMul", provider="CPUExecutionProvider", precision="float32", count=1)
BUILT = Built(
    engine="onnxruntime-cpu",
    engine_version="1.32.0",
    model="model.onnx",
    files=("model.onnx",),
    options=EngineOptions(),
    placement=(PLACEMENT,),
    seconds=1.0,
)


def made(*findings: Finding):  # type: ignore[no-untyped-def]
    checked = sample(*findings).checked
    return certificate(
        optimized=OPTIMIZED,
        built=BUILT,
        checked=checked,
        measured=None,
        budget={"min_cosine": 0.98},
        machine=MACHINE,
        created="2026-11-24T06:00:00+00:00",
    )


def test_findings_within_their_limits_pass() -> None:
    certified = made(GOOD)
    assert (certified.verdict, certified.reasons) == ("pass", ())


def test_one_finding_outside_fails_with_its_code() -> None:
    certified = made(GOOD, BAD, replace(BAD, name="kl.mean"))
    assert (certified.verdict, certified.reasons) == ("fail", ("perplexity.ratio", "kl.mean"))


def test_it_holds_what_it_rests_on() -> None:
    certified = made(GOOD)
    assert certified.source == EXPORTED.source
    assert (certified.passes, certified.placement) == ((PASS,), (PLACEMENT,))
    assert (certified.profile, certified.precision) == ("cpu-x86-avx2", "int8-dynamic")
    assert certified.versions == {"torch": "2.13.0", "onnxruntime-cpu": "1.32.0"}
    assert certified.budget == {"min_cosine": 0.98}
