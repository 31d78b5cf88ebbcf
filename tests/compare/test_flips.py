from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from compiler import bundle
from compiler.compare.answers import ANSWERS
from compiler.compare.asked import Asked, Item, asking
from compiler.compare.flips import EXPLAINED, TOKENS, answering, flips
from compiler.compare.occlusion import without_each_part
from compiler.errors import UsageError
from compiler.records.comparison import Flips
from tests.compare.conftest import WORD
from tests.understanding import Case

SUBJECTS = ("captain", "sailor", "rain", "night")
PLACES = ("london", "paris", "boston", "harbour")
TEXTS = [f"the {who} left {place} in a {what} ." for who in SUBJECTS for place in PLACES for what in (WORD, "rain")]
ITEMS: list[Item] = [{"text": text} for text in TEXTS]
Pair = tuple[Asked, Asked]


def opened(folder: Path) -> AbstractContextManager[Asked]:
    return asking(folder, bundle.read(folder))


@pytest.fixture(scope="module")
def models(classifier: Path, changed: Path) -> Iterator[Pair]:
    with opened(classifier) as baseline, opened(changed) as candidate:
        yield baseline, candidate


@pytest.fixture(scope="module")
def found(models: Pair) -> Flips:
    return flips(*models, ITEMS, data="test.jsonl")


def test_exactly_the_items_whose_label_differs(models: Pair, found: Flips) -> None:
    before, after = (each.model.classify(TEXTS) for each in models)
    expected = {i: (a[0]["label"], b[0]["label"]) for i, (a, b) in enumerate(zip(before, after, strict=True))
                if a[0]["label"] != b[0]["label"]}  # fmt: skip
    assert expected
    assert {flip.item: (flip.baseline, flip.candidate) for flip in found.flips} == expected
    assert all(WORD in TEXTS[item] for item in expected)
    assert found.items == len(ITEMS)


def test_the_largest_swing_is_first_and_margins_are_differences_of_scores(models: Pair, found: Flips) -> None:
    swings = [flip.swing for flip in found.flips]
    assert swings == sorted(swings, reverse=True)
    first = found.flips[0]
    before, after = (
        {label["label"]: label["score"] for label in each.model.classify(TEXTS[first.item], None)} for each in models
    )
    assert first.baseline_margin == pytest.approx(before[first.baseline] - before[first.candidate], abs=1e-6)
    assert first.candidate_margin == pytest.approx(after[first.candidate] - after[first.baseline], abs=1e-6)


def test_the_word_that_changed_decided(found: Flips) -> None:
    """[CLS] the captain left london in a storm . [SEP]: the storm is token 7. Without it, both answer alike."""
    assert found.flips[0].tokens[0].index == 7
    for flip in found.flips[:EXPLAINED]:
        influence = {token.index: token.influence for token in flip.tokens}
        assert influence[7] == pytest.approx(flip.swing, abs=1e-4)
        strengths = [abs(token.influence) for token in flip.tokens]
        assert strengths == sorted(strengths, reverse=True)
        assert len(strengths) == TOKENS


def test_texts_are_shown_only_when_asked_for(models: Pair, found: Flips) -> None:
    assert all(flip.text is None and all(token.text is None for token in flip.tokens) for flip in found.flips)
    shown = flips(*models, ITEMS, data="test.jsonl", include_texts=True)
    assert [flip.text for flip in shown.flips] == [TEXTS[flip.item] for flip in shown.flips]
    assert shown.flips[0].tokens[0].text == WORD


def test_no_answer_of_a_model_differs_from_its_own(models: Pair) -> None:
    assert flips(models[0], models[0], ITEMS, data="x").flips == ()


def test_pairs(models: Pair) -> None:
    pairs = [{"text": f"the old captain {word}", "pair": f"a {WORD} in {place}"} for word in ("left", "reached")
             for place in PLACES]  # fmt: skip
    shown = flips(*models, pairs, data="x", include_texts=True)
    assert shown.flips
    for flip in shown.flips:
        influence = {token.text: token.influence for token in flip.tokens}
        assert influence[WORD] == pytest.approx(flip.swing, abs=1e-4)
    assert shown.flips[0].text == "\n".join(pairs[shown.flips[0].item].values())


def test_each_token_is_hidden_once(models: Pair) -> None:
    hidden = without_each_part({"text": "sailors left", "pair": "the rain"}, ("text", "pair"), models[0].text)
    found = [(each.place, each.text) for each in hidden]
    assert found == [(1, "sailor"), (2, "s"), (3, "left"), (5, "the"), (6, "rain")]
    assert hidden[-1].item == {"text": "sailors left", "pair": "the [MASK]"}


QUESTION = "where was the captain"
OTHERS: dict[str, list[Item]] = {
    "multiple-choice": [{"text": "the old captain left", "choices": ["london", "paris", "boston in a storm"]}],
    "next-sentence-prediction": [{"text": "the captain left london", "pair": "a storm reached boston"}],
    "fill-mask": [{"text": "the [MASK] left london in a storm ."}],
    "question-answering": [{"question": QUESTION, "context": "the captain sailed from london in a storm ."}],
}


@pytest.mark.parametrize("task", OTHERS)
def test_the_answers_of_other_tasks(case: Callable[[str], Case], task: str) -> None:
    with opened(case(task).bundle) as asked:
        model, item = asked.model, OTHERS[task][0]
        scores = ANSWERS[task].scores(asked, OTHERS[task])[0]
        best = max(scores, key=scores.__getitem__)
        shown = ANSWERS[task].shown(asked, item, best)
        match task:
            case "multiple-choice":
                assert best == f"choice {model.choose(item['text'], item['choices'])['index']}"
            case "next-sentence-prediction":
                assert scores["next"] == pytest.approx(model.is_next(item["text"], item["pair"]))
            case "fill-mask":
                filled: list[dict[str, object]] = model.fill_mask(item["text"])  # type: ignore[assignment]
                assert (best, shown) == (f"token {filled[0]['token']}", filled[0]["token_str"])
            case _:
                answer: dict[str, object] = model.answer(item["question"], item["context"])  # type: ignore[assignment]
                assert (best, shown) == (f"{answer['start']} to {answer['end']}", answer["answer"])
        found = flips(asked, asked, OTHERS[task], data="x")
        assert (found.answers, found.flips) == (1, ())


def test_a_task_without_answers_that_can_flip() -> None:
    with pytest.raises(UsageError, match="flipped answers are not supported for feature-extraction"):
        answering("feature-extraction")
