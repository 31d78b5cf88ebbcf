from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from compiler import bundle
from compiler.errors import ContextError, InputError, UsageError
from compiler.runtime import Model, load
from tests import understanding
from tests.understanding import LONG, TEXT, Case, assert_same

QUESTION = "who sailed from london ?"
CONTEXTS = [TEXT, "Sailors, quickly walking in Boston; the CAPTAIN's  harbour.", "rain", LONG, "Zürich – " * 40]


@pytest.fixture(scope="module")
def saved(case: Callable[[str], Case]) -> Path:
    return case("question-answering").checkpoint


@pytest.fixture(scope="module")
def model(saved: Path) -> Iterator[Model]:
    with load(saved.with_name("bundle")) as opened:
        yield opened


def reference(
    saved: Path, question: str, context: str, *, longest: int = 15, stride: int = 128
) -> tuple[list[dict[str, Any]], float]:
    """Every answer, best first, and the score of there being none: span by span, in PyTorch."""
    import torch
    from transformers import BertForQuestionAnswering, BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(saved)
    model = BertForQuestionAnswering.from_pretrained(saved)
    room = understanding.CONTEXT - len(tokenizer(question).input_ids) - 1
    windows = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=understanding.CONTEXT,
        stride=min(stride, room // 2),
        return_overflowing_tokens=True,
    )
    best: dict[tuple[int, int], float] = {}
    nothing = []
    for number, ids in enumerate(windows.input_ids):
        window = windows[number]
        with torch.no_grad():
            out = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([window.type_ids]))
        own = [index for index, sequence in enumerate(window.sequence_ids) if sequence == 1]
        hidden = torch.ones(len(ids), dtype=torch.bool)
        hidden[[0, *own]] = False
        starts, ends = (
            logits[0].double().masked_fill(hidden, -torch.inf).softmax(0)
            for logits in (out.start_logits, out.end_logits)
        )
        nothing.append((starts[0] * ends[0]).item())
        scores: dict[tuple[int, int], float] = defaultdict(float)
        for first in own:
            for last in own:
                if first <= last < first + longest:
                    words = [window.word_to_chars(window.token_to_word(token), 1) for token in (first, last)]
                    scores[words[0][0], words[1][1]] += (starts[first] * ends[last]).item()
        for span, score in scores.items():
            best[span] = max(score, best.get(span, 0))
    ranked = sorted(best.items(), key=lambda item: -item[1])
    return [{"score": score, "start": i, "end": j, "answer": context[i:j]} for (i, j), score in ranked], min(nothing)


@pytest.mark.parametrize("context", CONTEXTS)
def test_answers_are_those_of_pytorch(model: Model, saved: Path, context: str) -> None:
    expected, _ = reference(saved, QUESTION, context)
    found = model.answer(QUESTION, context, top_k=4)
    assert [each["score"] for each in found] == pytest.approx([each["score"] for each in expected[:4]], abs=1e-4)
    assert_same([model.answer(QUESTION, context)], expected[:1])
    for each in found:
        assert each["answer"] == context[each["start"] : each["end"]]


def test_length_and_stride(model: Model, saved: Path) -> None:
    for longest, stride in ((1, 128), (4, 5), (15, 1)):
        expected, _ = reference(saved, QUESTION, LONG, longest=longest, stride=stride)
        found = model.answer(QUESTION, LONG, max_answer_length=longest, doc_stride=stride)
        assert found["score"] == pytest.approx(expected[0]["score"], abs=1e-4)


@pytest.mark.parametrize("context", [TEXT, LONG])
def test_no_answer_is_one_of_them_when_allowed(model: Model, saved: Path, context: str) -> None:
    expected, nothing = reference(saved, QUESTION, context)
    found = model.answer(QUESTION, context, top_k=100_000, allow_no_answer=True)
    assert [each for each in found if not each["answer"]] == [
        {"score": pytest.approx(nothing, abs=1e-5), "start": 0, "end": 0, "answer": ""}
    ]
    assert len(found) == len(expected) + 1
    assert sorted(found, key=lambda each: -each["score"]) == found


def test_a_tokenizer_that_pads_on_the_left_puts_the_text_first(model: Model, saved: Path, tmp_path: Path) -> None:
    copy = changed(saved, tmp_path, '"padding_side": "right"', '"padding_side": "left"')
    seen = []
    with load(copy) as left:
        run = left._session.run
        left._open.run = lambda feeds: seen.append(feeds["input_ids"][0].tolist()) or run(feeds)  # type: ignore[union-attr]
        assert left.answer("rain", "paris night")["answer"] in ("paris", "night", "paris night")
    words = [understanding.VOCABULARY[word] for word in ("[CLS]", "paris", "night", "[SEP]", "rain", "[SEP]")]
    assert seen == [words]


def test_a_tokenizer_without_a_token_for_no_answer(saved: Path, tmp_path: Path) -> None:
    with load(changed(saved, tmp_path, '"[CLS]"', "null")) as model:
        assert model.answer(QUESTION, TEXT)["answer"]
        with pytest.raises(UsageError, match="no answer"):
            model.answer(QUESTION, TEXT, allow_no_answer=True)


def changed(saved: Path, folder: Path, old: str, new: str) -> Path:
    """A copy of the bundle with other tokenizer settings."""
    copy = copytree(saved.with_name("bundle"), folder / "bundle")
    settings = copy / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace(old, new))
    bundle.seal(copy, bundle.read(copy))
    return copy


@pytest.mark.parametrize(
    ("question", "context", "options", "part"),
    [
        ("", TEXT, {}, "question is empty"),
        (QUESTION, " \n", {}, "context is empty"),
        (QUESTION, [TEXT], {}, "context is a text"),
        (QUESTION, TEXT, {"top_k": 0}, "top_k"),
        (QUESTION, TEXT, {"max_answer_length": 1.5}, "max_answer_length"),
        (QUESTION, TEXT, {"doc_stride": -1}, "doc_stride"),
    ],
)
def test_wrong_arguments(model: Model, question: Any, context: Any, options: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        model.answer(question, context, **options)


def test_a_question_as_long_as_the_context(model: Model) -> None:
    with pytest.raises(ContextError, match="no room"):
        model.answer(LONG, TEXT)
