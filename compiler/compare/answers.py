"""What a model answers to an item of a task, as scores by answer; answers are named without words of the item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from compiler.runtime import Model

Item = dict[str, Any]
Scores = dict[str, float]

CANDIDATES = 20  # answers asked for where there are very many


class Answering(NamedTuple):
    """`fields` of an item are needed, `optional` ones are used; `occluded` are the texts whose tokens may decide."""

    scores: Callable[[Model, Sequence[Item]], list[Scores]]
    fields: tuple[str, ...]
    occluded: tuple[str, ...]
    optional: tuple[str, ...] = ()


def _classified(model: Model, items: Sequence[Item]) -> list[Scores]:
    inputs: list[Any] = [(item["text"], item["pair"]) if "pair" in item else item["text"] for item in items]
    return [{label["label"]: label["score"] for label in labels} for labels in model.classify(inputs, None)]


def _chosen(model: Model, items: Sequence[Item]) -> list[Scores]:
    found = (model.choose(item["text"], item["choices"])["probabilities"] for item in items)
    return [{f"choice {index}": score for index, score in enumerate(scores)} for scores in found]


def _next(model: Model, items: Sequence[Item]) -> list[Scores]:
    found = [model.is_next(item["text"], item["pair"]) for item in items]
    return [{"next": probability, "not next": 1 - probability} for probability in found]


def _filled(model: Model, items: Sequence[Item]) -> list[Scores]:
    found: list[Any] = model.fill_mask([item["text"] for item in items], CANDIDATES)
    return [{filling["token_str"]: filling["score"] for filling in fillings} for fillings in found]


def _answered(model: Model, items: Sequence[Item]) -> list[Scores]:
    """By the place of the answer in the text."""
    found: list[Any] = [model.answer(item["question"], item["context"], top_k=CANDIDATES) for item in items]
    return [{f"{each['start']} to {each['end']}": each["score"] for each in answers} for answers in found]


ANSWERS: dict[str, Answering] = {
    "text-classification": Answering(_classified, ("text",), ("text", "pair"), ("pair",)),
    "multiple-choice": Answering(_chosen, ("text", "choices"), ("text",)),
    "next-sentence-prediction": Answering(_next, ("text", "pair"), ("text", "pair")),
    "fill-mask": Answering(_filled, ("text",), ("text",)),
    "question-answering": Answering(_answered, ("question", "context"), ("question",)),
}
