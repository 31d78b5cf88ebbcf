"""What `compile run` does with an encoder's bundle, one function for each task: a model, texts, and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from compiler.errors import UsageError

if TYPE_CHECKING:
    from compiler.runtime import Model

Row = tuple[object, ...]
FIRST = 6  # numbers of a vector for a person


class Shown(NamedTuple):
    """One result for a program (`value`) and for a person (a table)."""

    value: dict[str, Any]
    header: tuple[str, ...]
    rows: Sequence[Row]
    title: str = ""


def compare(
    model: Model,
    texts: list[str],
    *,
    query: str | None = None,
    adapter: str | None = None,
    **prompts: str | None,
) -> Shown:
    if query is not None:
        if prompts:
            raise UsageError("--query brings prompts of its own", action="leave out --prompt and --prompt-name")
        asked = model.embed_query(query, normalize=True, adapter=adapter)
        vectors = model.embed_document(texts, normalize=True, adapter=adapter)
        scores = (vectors @ asked).tolist()
        ranked = sorted(zip(scores, texts, strict=True), reverse=True)
        rows = [(f"{score:.3f}", text) for score, text in ranked]
        value = {"query": query, "texts": texts, "query_vector": asked.tolist(), "vectors": vectors.tolist()}
        return Shown(value, ("similarity", "text"), rows, f"For: {query}")
    vectors = model.embed(texts, normalize=True, adapter=adapter, **prompts)
    if len(texts) == 1:
        first = ", ".join(f"{number:.4g}" for number in vectors[0][:FIRST])
        row = (vectors.shape[1], f"{first}, ..." if vectors.shape[1] > FIRST else first)
        title = f"Vector of: {texts[0]} (two texts or more are compared; --json gives all numbers)"
        return Shown({"texts": texts, "vectors": vectors.tolist()}, ("numbers", "the first of them"), [row], title)
    scores = (vectors @ vectors[0]).tolist()
    ranked = sorted(zip(scores[1:], texts[1:], strict=True), reverse=True)
    rows = [(f"{score:.3f}", text) for score, text in ranked]
    return Shown({"texts": texts, "vectors": vectors.tolist()}, ("similarity", "text"), rows, f"To: {texts[0]}")


def fill_mask(model: Model, texts: list[str], *, top_k: int = 5) -> Shown:
    found: list[Any] = [model.fill_mask(text, top_k) for text in texts]
    rows: list[Row] = []
    for each in found:
        for mask in [each] if isinstance(each[0], dict) else each:
            rows += [(_score(token), token["token_str"], token["sequence"]) for token in mask]
    return Shown({"texts": texts, "fillings": found}, ("score", "token", "text"), rows)


def classify(
    model: Model, texts: list[str], *, pair: str | None = None, query: str | None = None, top_k: int | None = None
) -> Shown:
    if query is not None:
        if pair is not None:
            raise UsageError("--pair and --query exclude each other")
        ranked = model.rerank(query, texts)
        rows: list[Row] = [(_score(each), each["text"]) for each in ranked]
        return Shown({"query": query, "ranked": ranked}, ("score", "text"), rows, f"For: {query}")
    items: list[Any] = texts if pair is None else [(text, pair) for text in texts]
    found: list[list[Any]] = model.classify(items, top_k)
    rows = [(_score(label), label["label"], text) for text, each in zip(texts, found, strict=True) for label in each]
    return Shown({"texts": texts, "pair": pair, "labels": found}, ("score", "label", "text"), rows)


def classify_tokens(model: Model, texts: list[str], *, aggregation: str = "simple") -> Shown:
    found = model.classify_tokens(texts, aggregation)
    rows = [
        (_score(each), each.get("entity_group") or each["entity"], text[each["start"] : each["end"]], each["start"])
        for text, entities in zip(texts, found, strict=True)
        for each in entities
    ]
    return Shown({"texts": texts, "entities": found}, ("score", "label", "text", "start"), rows)


def answer(model: Model, texts: list[str], *, question: str | None = None, top_k: int = 1) -> Shown:
    if question is None:
        raise UsageError("no question", expected="--question, and the text that answers it")
    found = model.answer(question, "\n".join(texts), top_k=top_k)
    answers = found if isinstance(found, list) else [found]
    rows = [(_score(each), each["answer"], each["start"]) for each in answers]
    return Shown({"question": question, "answers": answers}, ("score", "answer", "start"), rows, question)


def choose(model: Model, texts: list[str]) -> Shown:
    prompt, *choices = texts
    if not choices:
        raise UsageError("nothing to choose from", found="a single text", expected="a prompt, then its choices")
    found = model.choose(prompt, choices)
    ranked = sorted(zip(found["probabilities"], choices, strict=True), reverse=True)
    rows = [(f"{probability:.3f}", choice) for probability, choice in ranked]
    return Shown({"prompt": prompt, "choices": choices, **found}, ("probability", "choice"), rows, prompt)


def is_next(model: Model, texts: list[str]) -> Shown:
    if len(texts) != 2:
        raise UsageError("next-sentence-prediction judges two texts", found=f"{len(texts)} texts", expected="two")
    probability = model.is_next(*texts)
    return Shown(
        {"texts": texts, "is_next": probability}, ("is next", "text"), [(f"{probability:.3f}", texts[1])], texts[0]
    )


def detect_replaced(model: Model, texts: list[str]) -> Shown:
    found: list[Any] = model.detect_replaced(texts)
    rows = [(_score(each), each["word"], each["start"]) for tokens in found for each in tokens]
    return Shown({"texts": texts, "tokens": found}, ("replaced", "token", "start"), rows)


def _score(answer: Any) -> str:
    return f"{answer['score']:.3f}"


class Way(NamedTuple):
    """How a task runs, and the options it takes."""

    run: Callable[..., Shown]
    options: tuple[str, ...] = ()


WAYS: dict[str, Way] = {
    "feature-extraction": Way(compare, ("query", "prompt", "prompt_name", "adapter")),
    "fill-mask": Way(fill_mask, ("top_k",)),
    "text-classification": Way(classify, ("pair", "query", "top_k")),
    "token-classification": Way(classify_tokens, ("aggregation",)),
    "question-answering": Way(answer, ("question", "top_k")),
    "multiple-choice": Way(choose),
    "next-sentence-prediction": Way(is_next),
    "replaced-token-detection": Way(detect_replaced),
}
