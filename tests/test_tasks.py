"""Every task of an encoder, from checkpoint to certificate."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from compiler import bundle, pipeline, records
from compiler.bundle import CERTIFICATE
from compiler.checkpoint.reference import Reference
from compiler.engines import open_bundle
from compiler.measure import workloads
from compiler.records import Certificate
from compiler.records.findings import is_headline
from compiler.tasks import TASKS
from tests import understanding
from tests.understanding import MODELS, Case

LOOSE = {"min_top1_agreement": 0.6, "max_kl_divergence": 0.5}  # for random weights
LOOSE_VECTORS = {"min_cosine": 0.9}
JUDGED = {
    "feature-extraction": {"cosine.min", "padding.cosine.min", "company.cosine.min", "pooling.max_relative_error"},
    "regression": {"spread.error", "padding.spread.error", "company.spread.error"},
}
CLASSES = {"top1.agreement", "kl.mean", "padding.spread.error", "company.spread.error"}
EXACT = {"output.max_abs_error", "longest.max_abs_error", "padding.max_abs_error", "vocabulary.max_abs_error"}
ROUNDED = {f"{asked}.rounding.{name}" for asked in ("output", "longest", "vocabulary") for name in ("ratio", "worst")}
ALWAYS = {"tokens.differences"}


def certificate(folder: Path) -> Certificate:
    return records.load(folder / CERTIFICATE, Certificate)


def judged(found: Certificate) -> set[str]:
    return {finding.name for finding in found.checked.findings if finding.limit is not None}


def quantized(made: Case, task: str, kind: str) -> Certificate:
    out = made.bundle.with_name("int8")
    budget = LOOSE_VECTORS if kind in JUDGED else LOOSE
    options = {"profile": "cpu-x86-avx2", "precision": "int8-dynamic", "bench": False, "budget": budget}
    return certificate(pipeline.build(str(made.checkpoint), task=task, out=out, **options))


def test_no_task_is_forgotten() -> None:
    assert set(MODELS) == {task for task, row in TASKS.items() if row.kind == "encoder"}


@pytest.mark.parametrize("task", MODELS)
def test_a_task_is_certified_in_float32_and_int8(task: str, case: Callable[[str], Case]) -> None:
    plain = certificate(case(task).bundle)
    assert (plain.verdict, plain.task) == ("pass", task)
    assert judged(plain) == ALWAYS | EXACT | JUDGED.get(task, CLASSES)
    coarse = quantized(case(task), task, task)
    assert coarse.verdict == "pass"
    assert judged(coarse) == ALWAYS | ROUNDED | JUDGED.get(task, CLASSES)
    assert any(place.precision == "int8" for place in coarse.placement)
    assert any(map(is_headline, judged(coarse)))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("regression", {"num_labels": 1}),
        ("multi-label", {"num_labels": 4, "problem_type": "multi_label_classification"}),
    ],
)
def test_other_classifiers_are_certified(kind: str, settings: dict[str, object], tmp_path: Path) -> None:
    saved = understanding.checkpoint(tmp_path / "model", "BertForSequenceClassification", **settings)
    made = Case(saved, understanding.built(saved, "text-classification", tmp_path / "bundle"))
    assert certificate(made.bundle).verdict == "pass"
    coarse = quantized(made, "text-classification", kind)
    assert judged(coarse) == ALWAYS | ROUNDED | JUDGED.get(kind, CLASSES)
    assert any(map(is_headline, judged(coarse)))
    assert coarse.verdict == "pass"


@pytest.mark.parametrize("task", ["multiple-choice", "question-answering"])
def test_a_task_is_timed_beside_pytorch(
    task: str, case: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workloads, "ENCODER_SECONDS", 0.0)
    made = case(task)
    manifest = bundle.read(made.bundle)
    shapes = ("1x4x32", "1x4x64", "8x4x64") if task == "multiple-choice" else ("1x32", "1x64", "8x64")
    for runner in (open_bundle(made.bundle, manifest, manifest.options), Reference(made.checkpoint, task)):
        with closing(runner) as session:
            for shape, workload in zip(shapes, workloads.workloads_of(manifest).values(), strict=True):
                ((name, samples),) = workload(session).items()
                assert name == f"latency_{shape}"
                assert min(samples) > 0
