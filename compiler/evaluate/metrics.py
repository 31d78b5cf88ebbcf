"""The metrics, one row each: what they mean, what they need, and which a task has by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

from compiler.errors import UsageError, did_you_mean
from compiler.evaluate import diversity, efficiency, privacy, quality
from compiler.evaluate.agreement import Average, Part
from compiler.evaluate.columns import ROLES
from compiler.evaluate.evidence import Evidence
from compiler.evaluate.labels import Answers
from compiler.evaluate.scored import Scored
from compiler.evaluate.settings import Settings

Better = Literal["lower", "higher"]

CLASSES = ("text-classification", "multiple-choice", "next-sentence-prediction")
SURE = (*CLASSES, "fill-mask", "question-answering")
DECODER = ("text-generation",)
GENERATING = (*DECODER, "text2text-generation")
NUMBERS = ("feature-extraction", "text-classification")
FLAGS = ("replaced-token-detection",)
ENTITIES = ("token-classification",)


class Definition(NamedTuple):
    """How a score is taken, and of which tasks.

    `kind` "quality" is also taken under changed texts. `gold` says that the data must hold what is right, `needs` names
    the setting without which there is nothing to measure.
    """

    score: Callable[[Evidence], Scored]
    unit: str
    better: Better
    tasks: tuple[str, ...]
    help: str
    kind: Literal["quality", "cost", "leak"] = "quality"
    gold: bool = True
    needs: str = ""


def _rated(
    take: Callable[[Evidence, Part, Average], Scored], tasks: tuple[str, ...], what: str
) -> dict[str, Definition]:
    return {
        f"{part}_{average}": Definition(
            lambda evidence, part=part, average=average: take(evidence, part, average),  # type: ignore[misc]
            "share", "higher", tasks, f"{part} of {what}, {'over all' if average == 'micro' else 'mean of classes'}",
        )
        for part in get_args(Part) for average in get_args(Average)
    }  # fmt: skip


def _texts(score: Callable[[Sequence[str]], Scored], unit: str, better: Better, explained: str) -> Definition:
    return Definition(lambda evidence: score(quality.texts(evidence)), unit, better, GENERATING, explained, gold=False)


def _cost(score: Callable[[Evidence], Scored], unit: str, better: Better, explained: str, *tasks: str) -> Definition:
    return Definition(score, unit, better, tasks or tuple(ROLES), explained, "cost", gold=False)


METRICS: dict[str, Definition] = {
    "accuracy": Definition(
        quality.accuracy, "share", "higher", (*CLASSES, "fill-mask", *FLAGS, *ENTITIES), "answers that are right"
    ),
    **_rated(quality.classes, (*CLASSES, *FLAGS), "labels"),
    **{f"entity_{name}": row for name, row in _rated(quality.entities, ENTITIES, "whole entities").items()},
    "calibration_error": Definition(
        quality.calibration, "share", "lower", SURE, "distance between confidence and accuracy"
    ),
    "exact_match": Definition(
        quality.exact_match, "share", "higher", ("question-answering", *GENERATING), "answers that equal a reference"
    ),
    "f1": Definition(
        quality.word_f1, "share", "higher", ("question-answering", *GENERATING), "words shared with the best reference"
    ),
    "pearson": Definition(partial(quality.correlation, kind="pearson"), "r", "higher", NUMBERS, "linear correlation"),
    "spearman": Definition(partial(quality.correlation, kind="spearman"), "rho", "higher", NUMBERS, "rank correlation"),
    "perplexity": Definition(
        quality.perplexity, "perplexity", "lower", DECODER, "how surprising the texts are, by strided windows",
        gold=False,
    ),
    "bleu": Definition(partial(quality.corpus, kind="bleu"), "BLEU", "higher", GENERATING, "BLEU, 0 to 100"),
    "chrf": Definition(partial(quality.corpus, kind="chrf"), "chrF", "higher", GENERATING, "chrF, 0 to 100"),
    **{
        kind.lower(): Definition(partial(quality.rouge, kind=kind), "F1", "higher", GENERATING, f"{kind}, 0 to 1")
        for kind in ("rouge1", "rouge2", "rougeL")
    },
    "distinct_1": _texts(partial(diversity.distinct, order=1), "share", "higher", "different words among all"),
    "distinct_2": _texts(partial(diversity.distinct, order=2), "share", "higher", "different pairs of words among all"),
    "self_bleu": _texts(diversity.self_bleu, "BLEU", "lower", "how alike the generated texts are"),
    "repetition": _texts(diversity.repetition, "share", "lower", "runs of four words that a text repeats"),
    "personal_data": _texts(
        privacy.personal_data_rate, "share", "lower", "generated texts with an e-mail, phone, IBAN or card number"
    )._replace(kind="leak"),
    "extraction": Definition(
        privacy.extraction, "share", "lower", DECODER, "secrets that are generated from their prefix", "leak",
        gold=False, needs="secrets",
    ),
    "exposure": Definition(
        privacy.exposure, "bits", "lower", DECODER, "rank of planted canaries among random alternatives", "leak",
        gold=False, needs="canaries",
    ),
    "latency": _cost(efficiency.latency, "ms", "lower", "median time for one item alone"),
    "throughput": _cost(efficiency.throughput, "items/s", "higher", "items a second, batched"),
    "tokens_per_second": _cost(efficiency.tokens_per_second, "tokens/s", "higher", "tokens generated, or else read"),
    "scored_tokens_per_second": _cost(
        efficiency.scored_tokens_per_second, "tokens/s", "higher", "speed of perplexity", *DECODER
    ),
    "memory": _cost(efficiency.memory, "bytes", "lower", "most resident memory of a process of its own"),
    "size": _cost(efficiency.size, "bytes", "lower", "files on disk"),
}  # fmt: skip

GROUPS: dict[str, tuple[str, ...]] = {
    "rouge": ("rouge1", "rouge2", "rougel"),
    "diversity": ("distinct_1", "distinct_2", "self_bleu", "repetition"),
    "privacy": ("extraction", "exposure", "personal_data"),
    "efficiency": ("latency", "throughput", "tokens_per_second", "memory", "size"),
}

LIKELIHOOD = frozenset({"perplexity", "scored_tokens_per_second"})  # these read the texts
APART = frozenset({"memory", "size", "extraction", "exposure"})  # these look at no item

DEFAULTS: dict[str, tuple[str, ...]] = {
    "text-classification": ("accuracy", "f1_macro", "calibration_error"),
    "token-classification": ("entity_precision_micro", "entity_recall_micro", "entity_f1_micro", "accuracy"),
    "question-answering": ("exact_match", "f1"),
    "fill-mask": ("accuracy", "calibration_error"),
    "feature-extraction": ("spearman", "pearson"),
    "multiple-choice": ("accuracy", "calibration_error"),
    "next-sentence-prediction": ("accuracy", "f1_macro", "calibration_error"),
    "replaced-token-detection": ("accuracy", "f1_micro"),
    "text-generation": ("perplexity", "scored_tokens_per_second"),
    "text2text-generation": ("bleu", "chrf", "rouge1", "rouge2", "rougel"),
}


def choose(task: str, names: Sequence[str], answers: Answers, settings: Settings) -> dict[str, Definition]:
    """The metrics of these names and groups; the task's defaults, and what the settings are for, where none is named.

    Raises:
        UsageError: a name is unknown, not for this task, or lacks the file it is about.
    """
    asked = [name for given in names for name in GROUPS.get(given, (given,))]
    if not names:
        asked = [*DEFAULTS[task]]
        if answers.mode == "number":
            asked = ["spearman", "pearson"]
        elif answers.mode == "multiple":
            asked = ["accuracy", "f1_micro", "f1_macro"]
        asked += [name for name, row in METRICS.items() if row.needs and getattr(settings, row.needs)]
    found = {}
    for name in dict.fromkeys(asked):
        if name not in METRICS:
            raise UsageError(
                f'metric "{name}" is unknown',
                expected=", ".join((*_of(task), *GROUPS)),
                action=did_you_mean(name, (*METRICS, *GROUPS)),
            )
        row = METRICS[name]
        grouped = name not in names and bool(names)
        if row.needs and not getattr(settings, row.needs):
            if grouped:
                continue
            raise UsageError(f'metric "{name}" needs --{row.needs}', expected=f"--{row.needs} FILE")
        if task not in row.tasks or not _suits(name, answers):
            if grouped:
                continue
            raise UsageError(f'metric "{name}" is not for this model ({task})', expected=", ".join(_of(task)))
        found[name] = row
    return found


def _of(task: str) -> list[str]:
    return [name for name, row in METRICS.items() if task in row.tasks]


def _suits(name: str, answers: Answers) -> bool:
    """Numbers are correlated, labels are counted, and a confidence belongs to a single label."""
    row = METRICS[name]
    if row.tasks == NUMBERS and answers.task != "feature-extraction":
        return answers.mode == "number"
    if answers.mode == "number":
        return row.kind != "quality"
    return not (answers.mode == "multiple" and name == "calibration_error")


def roles(task: str, chosen: Sequence[Definition]) -> list[str]:
    """What the data must hold for these metrics."""
    gold = quality.GOLD[task]
    optional = {gold} | ({"pair"} if task == "text-classification" else set())
    if any(row.gold for row in chosen):
        optional.discard(gold)
    return [role for role in ROLES[task] if role not in optional]
