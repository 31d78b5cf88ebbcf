"""What an encoder's numbers mean, task by task, and how far two sets of answers are apart in that meaning.

An answer is what the model says about one text: (tokens, width), or (1, width) where it gives one answer a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from compiler.check.compare import Scores, cosine, scores
from compiler.check.feeds import Feeds
from compiler.check.limits import Limits
from compiler.records import Finding
from compiler.records.findings import finding
from compiler.tasks import TASKS

# "classes": the width is a distribution. "positions": the tokens are one, for every column. "signs": each number says
# yes or no by itself. "values": a number on a scale. "vectors": a direction.
Meaning = Literal["classes", "positions", "signs", "values", "vectors"]

MEANINGS: dict[str, Meaning] = {
    "feature-extraction": "vectors",
    "question-answering": "positions",
    "replaced-token-detection": "signs",
}
Pool = Callable[[Sequence[np.ndarray]], np.ndarray]  # answers (tokens, hidden) to vectors (texts, width)
TOKENWISE = {*MEANINGS, "fill-mask", "token-classification"}


def meaning(task: str, width: int | str, config: Mapping[str, Any]) -> Meaning:
    """What a model's answers mean.

    Args:
        task: of an encoder.
        width: the last axis of its output.
        config: config.json, which says what a classifier was trained for.
    """
    if task != "text-classification":
        return MEANINGS.get(task, "classes")
    trained_for = config.get("problem_type")
    if width == 1 or trained_for == "regression":
        return "values"
    return "signs" if trained_for == "multi_label_classification" else "classes"


def answers(task: str, outputs: Feeds, feed: Feeds) -> list[np.ndarray]:
    """One answer a text, its padding left out."""
    names = TASKS[task].outputs
    array = outputs[names[0]] if len(names) == 1 else np.stack([outputs[name] for name in names], axis=-1)
    if task not in TOKENWISE:
        return [array[row : row + 1] for row in range(len(array))]
    if array.ndim == 2:  # one number a token
        array = array[..., None]
    return [array[row][real] for row, real in enumerate(feed["attention_mask"] == 1)]


def judge(
    kind: Meaning,
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    limits: Limits,
    pool: Pool,
) -> list[Finding]:
    """The engine's answers against the reference's."""
    if kind == "vectors":
        return _vectors(ours, theirs, limits, pool)
    if kind == "values":
        return [limits.by_distance("spread.error", _spread_error(ours, theirs, limits), len(ours), "min_cosine")]
    score = _scores(kind, ours, theirs)
    return [
        limits.by_share("top1.agreement", score.agree, "min_top1_agreement"),
        limits.by_budget("kl.mean", float(score.kl.mean()), len(score.kl), "max_kl_divergence"),
        finding("kl.max", float(score.kl.max()), len(score.kl)),
    ]


def judge_same(
    kind: Meaning,
    ours: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    limits: Limits,
    pool: Pool,
    *,
    name: str,
) -> Finding:
    """The engine's answers to the same texts in other surroundings: in a padded batch, or beside other texts.

    `name` is "padding" or "company". The budget's cosine also judges what is no direction, as the distance that unit
    vectors of that cosine have.
    """
    field = f"min_{name}_cosine"
    if kind == "vectors":
        cosines = cosine(pool(ours), pool(others))
        return limits.by_budget(f"{name}.cosine.min", float(cosines.min()), len(others), field)
    return limits.by_distance(f"{name}.spread.error", _spread_error(ours, others, limits), len(others), field)


def _scores(kind: Meaning, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Scores:
    parts = [scores(_distributions(kind, a), _distributions(kind, b)) for a, b in zip(ours, theirs, strict=True)]
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _distributions(kind: Meaning, answer: np.ndarray) -> np.ndarray:
    """An answer as logits (distributions, classes)."""
    if kind == "positions":
        return answer.T
    if kind == "signs":  # the logits of no and yes
        return np.stack([np.zeros_like(answer), answer], axis=-1).reshape(-1, 2)
    return answer


def _spread_error(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], limits: Limits) -> float:
    """Root mean square error of all numbers, in units of how far the reference's are from their mean."""
    a, b = (np.concatenate(list(each)).astype(np.float64) for each in (ours, theirs))
    error, spread = (float(np.sqrt((each**2).mean())) for each in (a - b, b - b.mean(axis=0)))
    return error / max(spread, limits.noise.error)


def _vectors(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], limits: Limits, pool: Pool) -> list[Finding]:
    of_texts = cosine(pool(ours), pool(theirs))
    of_tokens = np.concatenate([cosine(a, b) for a, b in zip(ours, theirs, strict=True)])
    return [
        limits.by_budget("cosine.min", float(of_texts.min()), len(of_texts), "min_cosine"),
        finding("cosine.mean", float(of_texts.mean()), len(of_texts)),
        finding("token_cosine.min", float(of_tokens.min()), len(of_tokens)),
        finding("token_cosine.mean", float(of_tokens.mean()), len(of_tokens)),
    ]
