"""The table of limits that are judged is what the checks hold answers against: no more, which would judge nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from compiler import records
from compiler.bundle import CERTIFICATE
from compiler.profile.judged import AGAINST_PYTORCH, ANSWERS, JUDGED, Answers, judged
from compiler.records import Budget, Certificate, Checked, PassRun
from compiler.tasks import TASKS
from compiler.validation.budgets import answers_of
from tests.check.toy import Toy, ToySession, checked, manifest

# Every limit at once, none of which anything breaks.
EVERY = Budget(
    noise_factor=1e6,
    max_perplexity_ratio=9.0,
    max_kl_divergence=9.0,
    min_top1_agreement=0.0,
    min_greedy_agreement=0.0,
    min_cosine=0.0,
    min_padding_cosine=0.0,
    min_company_cosine=0.0,
    min_cache_cosine=0.0,
)


def held(found: Checked) -> set[str]:
    """The limits that some finding has, by what it says it is judged by."""
    bases = " ".join(finding.basis for finding in found.findings)
    named = set(re.findall(r"budget (\w+)", bases))
    named |= {"rounding_factor"} if "rounded to as many bits" in bases else set()
    return named | ({"noise_factor"} if "the reference's own noise" in bases or "spread" in bases else set())


def made(precision: str) -> list[PassRun]:
    """The pass that gives a model this precision."""
    quantized = PassRun(
        name="quantize-per-token", options={}, modified=True, kept=True, nodes_before=1, nodes_after=1, seconds=0.0
    )
    return [] if precision == "float32" else [quantized]


ENCODERS = {
    "feature-extraction": ("vectors", {}),
    "fill-mask": ("classes", {}),
    "text-classification": ("classes", {}),
    "text-classification, many": ("signs", {"problem_type": "multi_label_classification"}),
    "text-classification, number": ("values", {"problem_type": "regression"}),
    "token-classification": ("classes", {}),
    "question-answering": ("positions", {}),
    "replaced-token-detection": ("signs", {}),
    "multiple-choice": ("classes", {}),
    "next-sentence-prediction": ("classes", {}),
}


@pytest.mark.parametrize("precision", ["float32", "int8-dynamic"])
@pytest.mark.parametrize(("name", "expected"), ENCODERS.items())
def test_of_an_encoder(tmp_path: Path, name: str, expected: tuple[Answers, dict[str, str]], precision: str) -> None:
    task, (answers, config) = name.partition(",")[0], expected
    about = manifest("encoder", precision, task)
    (tmp_path / "config.json").write_text(str(config).replace("'", '"'))
    found = checked(ToySession(Toy(task=task)), about, tmp_path, budget=EVERY, passes=made(precision))
    assert answers_of(task, config, about.outputs[0].shape[-1]) == answers
    assert held(found) == judged(answers, precision)


@pytest.mark.parametrize("precision", ["float32", "int8-dynamic"])
def test_of_a_decoder(tmp_path: Path, precision: str) -> None:
    found = checked(ToySession(Toy()), manifest("decoder", precision), tmp_path, budget=EVERY, passes=made(precision))
    assert held(found) == judged("decoder", precision)


def test_of_an_encoder_decoder(translator_bundle: Path) -> None:
    """Shipped profiles set every limit that such a model is held against in float32."""
    certificate = records.load(translator_bundle / CERTIFICATE, Certificate)
    assert held(certificate.checked) == judged("encoder-decoder", "float32")
    assert set(certificate.budget) == judged("encoder-decoder", "float32") - {"noise_factor"}


def test_the_table_is_whole() -> None:
    assert set(JUDGED) == set(get_args(Answers)) == {each for every in ANSWERS.values() for each in every}
    assert frozenset().union(*JUDGED.values()) | {"noise_factor", "rounding_factor"} == set(Budget.__struct_fields__)
    assert all(fields & AGAINST_PYTORCH for fields in JUDGED.values())
    assert {answers_of(task, {}) for task in TASKS} == set(JUDGED) - {"values"}
    assert answers_of("text-classification", {"id2label": {"0": "score"}}) == "values"
