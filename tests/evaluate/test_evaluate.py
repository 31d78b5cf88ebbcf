"""Every task from a file to scores, on tiny bundles beside PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu

import compiler
import compiler.evaluate.systems
from compiler import evaluate
from compiler.errors import InputError, UsageError
from compiler.evaluate import scored
from compiler.evaluate.metrics import DEFAULTS
from compiler.evaluate.robustness import KINDS
from compiler.records import Evaluated, Metric, System
from tests import understanding
from tests.evaluate.material import rows, write

Case = Callable[[str], understanding.Case]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored, "RESAMPLES", 20)  # intervals have tests of their own


def run(bundle: Path, checkpoint: Path | None, data: Path, include_texts: bool = False, **options: Any) -> Evaluated:
    made = evaluate.bundle_at(bundle)
    plan = evaluate.plan(made, data, **options)
    beside = [evaluate.reference_of(made, checkpoint, "checkpoint")] if checkpoint else []
    return plan.run([made, *beside], include_texts=include_texts)


def named(system: System) -> dict[str, Metric]:
    return {metric.name: metric for metric in system.metrics}


@pytest.mark.parametrize("task", understanding.MODELS)
def test_an_encoder_scores_as_its_checkpoint_does(case: Case, tmp_path: Path, task: str) -> None:
    found = case(task)
    data = write(tmp_path / "data.jsonl", rows(task))
    result = run(found.bundle, found.checkpoint, data, changes=KINDS)
    ours, theirs = map(named, result.systems)
    assert (result.task, result.items, [each.name for each in result.systems]) == (task, 12, ["bundle", "reference"])
    assert list(ours)[: len(DEFAULTS[task])] == list(DEFAULTS[task])
    for name, metric in ours.items():
        assert metric.value == pytest.approx(theirs[name].value, abs=1e-4), name
        assert metric.items == pytest.approx(theirs[name].items, abs=1e-4)
        assert metric.low <= metric.value + 1e-9 or "calibration" in name
    for name in DEFAULTS[task]:
        assert {f"{name}.{kind}.drop" for kind in KINDS} <= set(ours)
        assert ours[f"{name}.padding.drop"].value == pytest.approx(0, abs=1e-4)
    textual = task in {"question-answering", "fill-mask"}
    assert len(result.systems[0].answers) == (0 if textual else 12)
    json.dumps(compiler.records.encode(result).decode())


def test_accuracy_is_what_transformers_pipeline_gets_right(case: Case, tmp_path: Path) -> None:
    found = case("text-classification")
    data = rows("text-classification", 30)
    result = run(found.bundle, None, write(tmp_path / "data.jsonl", data))
    theirs = understanding.torch_pipeline("text-classification", found.checkpoint)
    labels = [each["label"] for each in theirs([row["sentence"] for row in data])]
    assert list(result.systems[0].answers) == labels
    right = [float(label == row["label"]) for label, row in zip(labels, data, strict=True)]
    accuracy = named(result.systems[0])["accuracy"]
    assert accuracy.items == tuple(right)
    assert accuracy.value == pytest.approx(np.mean(right))


def test_a_sample_is_the_same_for_the_same_seed(case: Case, tmp_path: Path) -> None:
    bundle = case("text-classification").bundle
    data = write(tmp_path / "data.jsonl", rows("text-classification", 40))
    one, again, other = (run(bundle, None, data, limit=10, seed=seed) for seed in (1, 1, 2))
    assert one.items == 10
    assert one.data_digest == again.data_digest != other.data_digest
    assert one.rows == again.rows != other.rows
    assert len(one.rows) == 10
    assert max(one.rows) < 40
    assert one.systems == again.systems


def test_a_generator_scores_as_its_checkpoint_does(decoder_bundle: Path, tiny_decoder: Path, tmp_path: Path) -> None:
    items = rows("text-generation", 5)
    data = write(tmp_path / "data.jsonl", items)
    asked = ["perplexity", "scored_tokens_per_second", "bleu", "chrf", "rouge", "diversity", "latency", "throughput"]
    options = {"metrics": asked, "max_new_tokens": 6, "window": 16, "stride": 4}
    result = run(decoder_bundle, tiny_decoder, data, include_texts=True, **options)
    ours, theirs = result.systems
    assert ours.answers == theirs.answers
    timed = {"scored_tokens_per_second", "latency", "throughput"}
    for name, metric in named(ours).items():
        if name in timed:
            assert metric.value > 0
            assert len(metric.items) == (5 if name == "latency" else 0)
        else:
            assert metric.value == pytest.approx(named(theirs)[name].value, rel=1e-4)
    with compiler.load(decoder_bundle) as model:
        assert list(ours.answers) == model.generate(
            [row["text"] for row in rows("text-generation", 5)], max_new_tokens=6
        )
    assert run(decoder_bundle, None, data, **options).systems[0].answers == ()


def test_half_a_text_may_be_nothing_to_score(decoder_bundle: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", [{"text": "x y"}, {"text": "the cat sat on the mat"}])
    metrics = named(run(decoder_bundle, None, data, metrics=["perplexity"], changes=["truncation"]).systems[0])
    assert metrics["perplexity.truncation"].items[0] == 1
    assert all(np.isfinite(each.items).all() for each in metrics.values())


def test_a_translator_scores_as_its_checkpoint_does(translator_bundle: Path, tmp_path: Path) -> None:
    data = rows("text2text-generation", 4)
    path = write(tmp_path / "data.jsonl", data)
    checkpoint = translator_bundle.with_name("checkpoint")
    result = run(translator_bundle, checkpoint, path, include_texts=True, max_new_tokens=8)
    ours, theirs = result.systems
    assert ours.answers == theirs.answers
    assert [each.name for each in ours.metrics] == list(DEFAULTS["text2text-generation"])
    expected = sacrebleu.corpus_chrf(list(ours.answers), [[row["reference"] for row in data]]).score
    assert named(ours)["chrf"].value == pytest.approx(expected)


def test_memory_and_size_are_those_of_a_process_and_its_files(case: Case, tmp_path: Path) -> None:
    found = case("text-classification")
    data = write(tmp_path / "data.jsonl", rows("text-classification", 3))
    ours, theirs = map(named, run(found.bundle, found.checkpoint, data, metrics=["memory", "size"]).systems)
    assert ours["size"].value == sum(path.stat().st_size for path in found.bundle.rglob("*") if path.is_file())
    assert 10e6 < ours["memory"].value < theirs["memory"].value  # PyTorch alone takes more


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["acuracy"]}, 'did you mean "accuracy"'),
        ({"metrics": ["bleu"]}, "not for this model"),
        ({"metrics": ["spearman"]}, "not for this model"),
        ({"metrics": ["extraction"]}, "needs --secrets"),
        ({"columns": {"text": "body"}}, "no such column|body"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_loading(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(evaluate.systems, "open_bundle", refuse)
    data = write(tmp_path / "data.jsonl", rows("text-classification", 3))
    with pytest.raises(UsageError, match=message):
        run(case("text-classification").bundle, None, data, **options)


def test_prompts_that_do_not_fit_are_refused_before_loading(decoder_bundle: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", [{"text": "the cat"}, {"text": "x" * 100}])
    made = evaluate.bundle_at(decoder_bundle)
    evaluate.plan(made, data)  # perplexity reads a text of any length
    with pytest.raises(InputError, match="row 2"):
        evaluate.plan(made, data, metrics=["distinct_1"])
    with pytest.raises(InputError, match="row 1: nothing to score"):
        evaluate.plan(made, write(tmp_path / "short.jsonl", [{"text": "x"}]))


def test_another_bundle_must_do_the_same(case: Case, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", rows("text-classification", 3))
    plan = evaluate.plan(evaluate.bundle_at(case("text-classification").bundle), data)
    with pytest.raises(UsageError, match="not comparable"):
        plan.require_alike(evaluate.bundle_at(case("fill-mask").bundle))
