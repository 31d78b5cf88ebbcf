"""What a system answers to items, one function for each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from compiler.evaluate.columns import Item
from compiler.evaluate.settings import Settings
from compiler.runtime.model import Model


class Predicted(NamedTuple):
    """One answer. `shown` is how a person reads it, `value` compares with the item's own label or texts.

    `confidence` is the probability of the answer, where the task has one; `tokens` were generated.
    """

    shown: str
    value: Any
    confidence: float | None = None
    tokens: int = 0


def predict(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    """An answer for each item, in their order."""
    return WAYS[model.manifest.task](model, items, settings) if items else []


def classify(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    texts: list[Any] = [(item["text"], item["pair"]) if "pair" in item else item["text"] for item in items]
    found = []
    for ranked in model.classify(texts, None):
        best = ranked[0]
        match settings.answers.mode:
            case "number":
                found.append(Predicted(f"{best['score']:.6g}", best["score"]))
            case "single":
                found.append(Predicted(best["label"], best["label"], best["score"]))
            case "multiple":
                chosen = {each["label"] for each in ranked if each["score"] >= 0.5}
                labels = tuple(label for label in settings.answers.labels if label in chosen)
                found.append(Predicted(" ".join(labels), labels))
    return found


def classify_tokens(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    """A word's label is its first token's; words behind the model's context get none ("O")."""
    found = []
    texts, starts = zip(*(_joined(item["words"]) for item in items), strict=True)
    for tokens, begins in zip(model.classify_tokens(list(texts), "none", ignore=()), starts, strict=True):
        first: dict[int, str] = {}
        for token in tokens:
            first.setdefault(_word(begins, token["start"]), token["entity"])
        tags = [first.get(word, "O") for word in range(len(begins))]
        found.append(Predicted(" ".join(tags), tags))
    return found


def detect_replaced(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    """A word counts as replaced when one of its tokens does."""
    found = []
    texts, starts = zip(*(_joined(item["words"]) for item in items), strict=True)
    suspects: list[Any] = model.detect_replaced(list(texts))
    for tokens, begins in zip(suspects, starts, strict=True):
        flags = [False] * len(begins)
        for token in tokens:
            flags[_word(begins, token["start"])] |= token["score"] >= 0.5
        found.append(Predicted(" ".join(str(int(flag)) for flag in flags), flags))
    return found


def answer(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    """None is an answer as well, where the data has questions without one."""
    unanswerable = any("" in item.get("answers", ()) for item in items)
    found = []
    for item in items:
        best: Any = model.answer(item["question"], item["context"], allow_no_answer=unanswerable)
        found.append(Predicted(best["answer"], best["answer"], best["score"]))
    return found


def fill_mask(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    fillings: list[Any] = model.fill_mask([item["text"] for item in items], 1)
    return [Predicted(each["token_str"].strip(), each["token_str"].strip(), each["score"]) for (each,) in fillings]


def compare(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    """The cosine between the two texts' vectors."""
    vectors = model.embed([item[role] for role in ("text", "pair") for item in items], normalize=True)
    scores = np.sum(vectors[: len(items)] * vectors[len(items) :], axis=1)
    return [Predicted(f"{score:.6g}", score) for score in scores.tolist()]


def choose(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    found = []
    for item in items:
        best = model.choose(item["text"], item["choices"])
        found.append(Predicted(str(best["index"]), best["index"], max(best["probabilities"])))
    return found


def is_next(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    found = []
    for item in items:
        probability = model.is_next(item["text"], item["pair"])
        follows = probability >= 0.5
        found.append(Predicted(str(follows).lower(), follows, max(probability, 1 - probability)))
    return found


def generate(model: Model, items: Sequence[Item], settings: Settings) -> list[Predicted]:
    prompts = [item["text"] for item in items]
    groups = [prompts] if settings.batched else [[prompt] for prompt in prompts]
    found = []
    for group in groups:
        for each in model.generate(group, details=True, max_new_tokens=settings.max_new_tokens):
            found.append(Predicted(each.text, each.text, tokens=len(each.tokens)))
    return found


def _joined(words: Sequence[str]) -> tuple[str, list[int]]:
    """Words with spaces between them, and where each begins."""
    begins, at = [], 0
    for word in words:
        begins.append(at)
        at += len(word) + 1
    return " ".join(words), begins


def _word(begins: Sequence[int], place: int) -> int:
    """The word that the character at `place` belongs to."""
    return int(np.searchsorted(begins, place, side="right")) - 1


Way = Callable[[Model, Sequence[Item], Settings], list[Predicted]]

WAYS: dict[str, Way] = {
    "feature-extraction": compare,
    "fill-mask": fill_mask,
    "text-classification": classify,
    "token-classification": classify_tokens,
    "question-answering": answer,
    "multiple-choice": choose,
    "next-sentence-prediction": is_next,
    "replaced-token-detection": detect_replaced,
    "text-generation": generate,
    "text2text-generation": generate,
}
