"""Metrics of answers, as functions of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.evaluate import agreement
from compiler.evaluate import texts as compared
from compiler.evaluate.entities import spans
from compiler.evaluate.evidence import Evidence
from compiler.evaluate.scored import Scored, mean_of

# The role that holds what is right, by task; every other role is what the model is given.
GOLD = {
    "text-classification": "label",
    "token-classification": "tags",
    "question-answering": "answers",
    "fill-mask": "label",
    "feature-extraction": "label",
    "multiple-choice": "label",
    "next-sentence-prediction": "label",
    "replaced-token-detection": "tags",
    "text-generation": "reference",
    "text2text-generation": "reference",
}


def texts(evidence: Evidence) -> list[str]:
    """What was generated, or found."""
    return [each.shown for each in evidence.predictions]


def right(evidence: Evidence) -> list[Any]:
    """What should have been answered."""
    role = GOLD[evidence.system.manifest.task]
    return [item[role] for item in evidence.items]


def values(evidence: Evidence) -> list[Any]:
    """What was answered, as `right` has it."""
    return [each.value for each in evidence.predictions]


def accuracy(evidence: Evidence) -> Scored:
    """Share of right answers; where every word has a label, of all words."""
    pairs = list(zip(values(evidence), right(evidence), strict=True))
    if not isinstance(pairs[0][1], list):
        return mean_of([float(given == wanted) for given, wanted in pairs])
    hits = np.array([sum(map(_same, given, wanted)) for given, wanted in pairs], np.float64)
    words = np.array([len(wanted) for _, wanted in pairs], np.float64)
    return Scored(
        lambda rows: float(hits[rows].sum() / words[rows].sum()),
        len(pairs),
        tuple((hits / words).tolist()),
        weights=tuple(words.tolist()),
    )


def classes(evidence: Evidence, part: agreement.Part, average: agreement.Average) -> Scored:
    """Precision, recall or F1 of labels; of flagged words, where every word is flagged or not."""
    given, wanted = ([_places(each) for each in side] for side in (values(evidence), right(evidence)))
    return agreement.averaged(agreement.counts(given, wanted), part, average)


def entities(evidence: Evidence, part: agreement.Part, average: agreement.Average) -> Scored:
    """Precision, recall or F1 of whole entities: type and both ends must be right."""
    given, wanted = ([spans(each) for each in side] for side in (values(evidence), right(evidence)))
    return agreement.averaged(agreement.counts(given, wanted), part, average)


def calibration(evidence: Evidence) -> Scored:
    """Expected calibration error of the answers' probabilities; 0 confidence where there is none."""
    confidence = [each.confidence or 0.0 for each in evidence.predictions]
    hits = (exact_match if evidence.system.manifest.task == "question-answering" else accuracy)(evidence).items
    return agreement.calibration_error(confidence, [hit == 1 for hit in hits], evidence.settings.bins)


def correlation(evidence: Evidence, kind: compared.Correlation) -> Scored:
    """Of the given numbers with the right ones."""
    return compared.correlation(kind, values(evidence), right(evidence))


def exact_match(evidence: Evidence) -> Scored:
    """See `texts.exact_match`."""
    return compared.exact_match(texts(evidence), right(evidence))


def word_f1(evidence: Evidence) -> Scored:
    """See `texts.word_f1`."""
    return compared.word_f1(texts(evidence), right(evidence))


def corpus(evidence: Evidence, kind: compared.Corpus) -> Scored:
    """BLEU or chrF."""
    return compared.corpus(kind, texts(evidence), right(evidence))


def rouge(evidence: Evidence, kind: str) -> Scored:
    """See `texts.rouge`."""
    return compared.rouge(kind, texts(evidence), right(evidence))


def perplexity(evidence: Evidence) -> Scored:
    """exp of the mean negative log-probability of a token, over all tokens of all texts."""
    sums = np.array([loss.sum() for loss in evidence.losses])
    tokens = np.array([len(loss) for loss in evidence.losses], np.float64)
    items = tuple(np.exp(sums / np.maximum(tokens, 1)).tolist())  # half a text may be a single token
    return Scored(
        lambda rows: float(np.exp(sums[rows].sum() / max(tokens[rows].sum(), 1))),
        len(sums),
        items,
        weights=tuple(tokens.tolist()),
    )


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)


def _places(value: Any) -> Sequence[tuple[int, str]]:
    """A label, several, or a flag for every word, as pairs of a place and a class."""
    if isinstance(value, list):
        return [(place, "flagged") for place, flag in enumerate(value) if flag]
    return [(0, str(each)) for each in (value if isinstance(value, tuple) else (value,))]
