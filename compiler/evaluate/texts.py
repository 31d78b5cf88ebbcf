"""Scores of texts against reference texts.

BLEU and chrF are sacrebleu's, ROUGE is rouge-score's; for question answering, words are compared as SQuAD does it.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from compiler.evaluate.libraries import needs
from compiler.evaluate.scored import Scored, mean_of

Corpus = Literal["bleu", "chrf"]
Correlation = Literal["pearson", "spearman"]

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def corpus(kind: Corpus, texts: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """sacrebleu's score of all texts together, 0 to 100. Texts may have unequally many references."""
    needs("sacrebleu")
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scorer: Any = BLEU() if kind == "bleu" else CHRF()
    longest = max(map(len, references))
    columns = [[each[at] if at < len(each) else None for each in references] for at in range(longest)]
    # What sacrebleu's own bootstrap resamples: each text's n-gram counts.
    statistics = scorer._extract_corpus_statistics(list(texts), columns)
    return Scored(
        lambda rows: float(scorer._aggregate_and_compute([statistics[row] for row in rows]).score), len(texts)
    )


def rouge(kind: str, texts: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """Mean F-measure of rouge1, rouge2 or rougeL, 0 to 1; of several references the best counts."""
    needs("rouge_score")
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], use_stemmer=False)
    return mean_of(
        [scorer.score_multi(each, text)[kind].fmeasure for text, each in zip(texts, references, strict=True)]
    )


def exact_match(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """Share of texts that equal one of their references once case, punctuation and articles are gone."""
    return mean_of(
        [
            float(normalized(text) in {normalized(right) for right in each})
            for text, each in zip(texts, references, strict=True)
        ]
    )


def word_f1(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """Mean F1 of the words that a text shares with its best reference."""
    return mean_of([max(_overlap(text, right) for right in each) for text, each in zip(texts, references, strict=True)])


def normalized(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def _overlap(text: str, reference: str) -> float:
    given, expected = (Counter(normalized(each).split()) for each in (text, reference))
    if not given or not expected:  # no answer: right only where there is none
        return float(given == expected)
    shared = (given & expected).total()
    return 2 * shared / (given.total() + expected.total())


def correlation(kind: Correlation, given: Sequence[float], expected: Sequence[float]) -> Scored:
    """Pearson's coefficient, of the numbers or (Spearman) of their ranks; 0 where one side is all the same."""
    needs("scipy")
    from scipy.stats import rankdata

    ours, theirs = np.asarray(given, np.float64), np.asarray(expected, np.float64)

    def statistic(rows: np.ndarray) -> float:
        sides = ours[rows], theirs[rows]
        one, other = (rankdata(side) for side in sides) if kind == "spearman" else sides
        if np.ptp(one) == 0 or np.ptp(other) == 0:
            return 0.0
        return float(np.corrcoef(one, other)[0, 1])

    return Scored(statistic, len(ours))
