"""A loaded bundle as the model of a transformers pipeline: the answers are those with PyTorch's model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import compiler
from compiler.errors import ContextError, InputError, UsageError
from compiler.runtime import Model
from tests import understanding
from tests.conftest import ROOT
from tests.understanding import TEXT, Case

TEXTS = [TEXT, "who left ?", "a young sailor reached paris from boston in the rain ."]
PAIR = {"text": TEXT, "text_pair": "the storm reached the harbour ."}


def close(found: Any, expected: Any) -> None:
    """Equal in everything, numbers within 1e-4, at any depth."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            close(found[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for mine, theirs in zip(found, expected, strict=True):
            close(mine, theirs)
    elif isinstance(expected, float | np.floating):
        assert found == pytest.approx(expected, abs=1e-4)
    else:
        assert found == expected


def both(task: str, made: Case) -> tuple[Any, Any]:
    """Our pipeline and PyTorch's."""
    ours = transformers.pipeline(task, model=compiler.load(made.bundle), tokenizer=str(made.bundle), device="cpu")
    return ours, understanding.torch_pipeline(task, made.checkpoint)


@pytest.mark.parametrize(
    ("task", "inputs", "options"),
    [
        ("text-classification", TEXTS, {"top_k": None}),
        ("text-classification", PAIR, {}),
        ("fill-mask", "the old [MASK] left .", {"top_k": 4}),
        ("token-classification", TEXTS, {"ignore_labels": []}),
        ("token-classification", TEXT, {"aggregation_strategy": "simple"}),
        ("feature-extraction", TEXTS, {}),
    ],
)
def test_a_pipeline_answers_the_same(
    task: str, inputs: Any, options: dict[str, Any], case: Callable[[str], Case], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = both(task, case(task))
    close(ours(inputs, **options), theirs(inputs, **options))
    assert "not supported" not in caplog.text


def test_a_pipeline_batches(case: Callable[[str], Case]) -> None:
    ours, theirs = both("text-classification", case("text-classification"))
    close(ours(TEXTS, batch_size=3), theirs(TEXTS))


def test_a_call_takes_what_a_tokenizer_gives(case: Callable[[str], Case]) -> None:
    made = case("question-answering")
    tokenizer = transformers.AutoTokenizer.from_pretrained(made.bundle)
    reference = transformers.AutoModelForQuestionAnswering.from_pretrained(made.checkpoint)
    feeds = tokenizer("who left ?", TEXT, return_tensors="pt")
    with compiler.load(made.bundle) as model, torch.inference_mode():
        found, expected = model(**feeds), reference(**feeds)
        torch.testing.assert_close(found.start_logits, expected.start_logits, atol=1e-4, rtol=0)
        torch.testing.assert_close(found["end_logits"], expected.end_logits, atol=1e-4, rtol=0)
        ids = feeds["input_ids"]
        torch.testing.assert_close(model(ids)[0], reference(ids)[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(model(ids.numpy()).end_logits, model(ids.to(torch.int32))[1])
        with pytest.raises(InputError, match="wrong dtype"):
            model(ids.to(torch.float32))
        with pytest.raises(UsageError, match="output_attentions"):
            model(ids, output_attentions=True)


def test_a_closed_model_answers_nothing(case: Callable[[str], Case]) -> None:
    model = compiler.load(case("fill-mask").bundle)
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model(torch.zeros(1, 3, dtype=torch.int64))


@pytest.fixture(scope="module")
def generation(tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, Model]]:
    """Our pipeline, PyTorch's, and the model in ours."""
    folder = tmp_path_factory.mktemp("generation")
    out = understanding.built(tiny_decoder, "text-generation", folder / "bundle")
    with compiler.load(out) as model:
        ours = transformers.pipeline("text-generation", model=model, tokenizer=str(out), device="cpu")
        yield ours, understanding.torch_pipeline("text-generation", tiny_decoder), model


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 12},
        {"max_new_tokens": 12, "batch_size": 3},
        {"max_new_tokens": 8, "num_beams": 3},
        {"max_new_tokens": 8, "repetition_penalty": 1.5, "return_full_text": False},
    ],
    ids=str,
)
def test_a_pipeline_generates_the_same(options: dict[str, Any], generation: tuple[Any, Any, Model]) -> None:
    ours, theirs, _ = generation
    prompts = ["the cat sat", "on", "the mat sat on the cat"]
    assert ours(prompts, do_sample=False, **options) == theirs(prompts, do_sample=False, **options)


def test_generation_settings_come_from_an_object_too(generation: tuple[Any, Any, Model]) -> None:
    ours, theirs, _ = generation
    settings = transformers.GenerationConfig(max_new_tokens=7, do_sample=False, pad_token_id=1)
    assert ours("the cat", generation_config=settings) == theirs("the cat", generation_config=settings)


def test_tokens_go_in_and_come_out(generation: tuple[Any, Any, Model]) -> None:
    ours, theirs, model = generation
    ids = ours.tokenizer("the cat sat", return_tensors="pt")["input_ids"]
    expected = theirs.model.generate(input_ids=ids, max_length=ids.shape[1] + 5, do_sample=False)
    assert torch.equal(model.generate(input_ids=ids, max_length=ids.shape[1] + 5, do_sample=False), expected)
    drawn = [model.generate(input_ids=ids, max_new_tokens=8, do_sample=True) for _ in range(4)]
    assert len({tuple(row[0].tolist()) for row in drawn}) > 1
    with pytest.raises(ContextError, match="max_length"):
        model.generate(input_ids=ids, max_length=1)
    with pytest.raises(UsageError, match="penalty_alpha"):
        model.generate(input_ids=ids, penalty_alpha=0.6, max_new_tokens=2)
    with pytest.raises(UsageError, match="only generates"):
        model(ids)


def test_nothing_of_it_is_needed_without_transformers(case: Callable[[str], Case]) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, transformers=None)\n"
        "import numpy, compiler, compiler.errors\n"
        "model = compiler.load(sys.argv[1])\n"
        "print(model.fill_mask('the old [MASK] left .')[0]['token_str'], type(model).__name__)\n"
        "try: model(numpy.zeros((1, 3), numpy.int64))\n"
        "except compiler.errors.UsageError as error: print(error)\n"
    )
    words = [sys.executable, "-c", code, str(case("fill-mask").bundle)]
    result = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    first, *rest = result.stdout.splitlines()
    assert first.endswith(" BertForMaskedLM")
    assert "torch, which is not loaded" in rest[0]
    assert "run()" in rest[-1]
