"""What a model answers to an item of a task, as scores by answer; answers are named without words of the item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from compiler.compare.asked import Asked, Item, Question, Scores
from compiler.compare.tagged import every_word, flagged, tagged
from compiler.compare.written import continued, parted

CANDIDATES = 20  # answers asked for where there are very many


def _each(_baseline: Asked, _candidate: Asked, items: Sequence[Item]) -> Iterator[Question]:
    """Every item is one question."""
    return (Question(index, item) for index, item in enumerate(items))


def _as_named(_asked: Asked, _item: Item, answer: str) -> str:
    return answer


class Answering(NamedTuple):
    """How items are answered.

    `fields` of an item are needed, `optional` ones are used; `occluded` are the texts whose tokens may decide.
    `questions` are what both models are asked about some items, `shown` is an answer as a person reads it.
    """

    scores: Callable[[Asked, Sequence[Item]], list[Scores]]
    fields: tuple[str, ...]
    occluded: tuple[str, ...]
    optional: tuple[str, ...] = ()
    questions: Callable[[Asked, Asked, Sequence[Item]], Iterator[Question]] = _each
    shown: Callable[[Asked, Item, str], str] = _as_named


def _classified(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    inputs: list[Any] = [(item["text"], item["pair"]) if "pair" in item else item["text"] for item in items]
    return [{label["label"]: label["score"] for label in labels} for labels in asked.model.classify(inputs, None)]


def _chosen(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    found = (asked.model.choose(item["text"], item["choices"])["probabilities"] for item in items)
    return [{f"choice {index}": score for index, score in enumerate(scores)} for scores in found]


def _next(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    found = [asked.model.is_next(item["text"], item["pair"]) for item in items]
    return [{"next": probability, "not next": 1 - probability} for probability in found]


def _filled(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    found: list[Any] = asked.model.fill_mask([item["text"] for item in items], CANDIDATES)
    return [{f"token {filling['token']}": filling["score"] for filling in fillings} for fillings in found]


def _filling(asked: Asked, _item: Item, answer: str) -> str:
    return asked.text.tokenizer.decode([int(answer.split()[1])], skip_special_tokens=False)


def _answered(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    """By the place of the answer in the text."""
    found: list[Any] = [asked.model.answer(item["question"], item["context"], top_k=CANDIDATES) for item in items]
    return [{f"{each['start']} to {each['end']}": each["score"] for each in answers} for answers in found]


def _passage(_asked: Asked, item: Item, answer: str) -> str:
    start, end = answer.split(" to ")
    return str(item["context"][int(start) : int(end)])


_WRITING = Answering(
    continued, ("text",), ("text",), questions=parted, shown=lambda _, item, answer: str(item["written"][answer])
)

ANSWERS: dict[str, Answering] = {
    "text-classification": Answering(_classified, ("text",), ("text", "pair"), ("pair",)),
    "token-classification": Answering(tagged, ("words",), ("words",), questions=every_word),
    "replaced-token-detection": Answering(flagged, ("words",), ("words",), questions=every_word),
    "multiple-choice": Answering(_chosen, ("text", "choices"), ("text",)),
    "next-sentence-prediction": Answering(_next, ("text", "pair"), ("text", "pair")),
    "fill-mask": Answering(_filled, ("text",), ("text",), shown=_filling),
    "question-answering": Answering(_answered, ("question", "context"), ("question",), shown=_passage),
    "text-generation": _WRITING,
    "text2text-generation": _WRITING,
}
