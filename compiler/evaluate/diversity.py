"""How varied generated texts are. Words are what stands between spaces, in lower case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compiler.evaluate.libraries import needs
from compiler.evaluate.scored import Scored, mean_of

REPEATED = 4  # words in a row that count as a repetition
COMPARED = 100  # texts that self-BLEU compares a text with, at most


def distinct(texts: Sequence[str], order: int) -> Scored:
    """Different n-grams of all texts together, divided by all n-grams; 0 without any."""
    grams = [list(_grams(text, order)) for text in texts]
    numbers: dict[tuple[str, ...], int] = {}
    coded = [np.array([numbers.setdefault(gram, len(numbers)) for gram in each], np.int64) for each in grams]

    def statistic(rows: np.ndarray) -> float:
        chosen = [coded[row] for row in rows]
        total = sum(map(len, chosen))
        return len(np.unique(np.concatenate(chosen))) / total if total else 0.0

    return Scored(statistic, len(texts), interval="jackknife")


def repetition(texts: Sequence[str]) -> Scored:
    """Mean share of a text's 4-grams that occurred in it before."""
    shares = []
    for text in texts:
        grams = list(_grams(text, REPEATED))
        shares.append(1 - len(set(grams)) / len(grams) if grams else 0.0)
    return mean_of(shares)


def self_bleu(texts: Sequence[str]) -> Scored:
    """Mean BLEU, 0 to 100, of each text with the others as its references (the next hundred, where there are more)."""
    needs("sacrebleu")
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(effective_order=True)
    around = [*texts, *texts]
    scores = []
    for place, text in enumerate(texts):
        others = around[place + 1 : place + 1 + min(COMPARED, len(texts) - 1)]
        scores.append(float(scorer.sentence_score(text, others).score) if others else 0.0)
    return mean_of(scores)


def _grams(text: str, order: int) -> Iterator[tuple[str, ...]]:
    words = text.lower().split()
    return zip(*(words[at:] for at in range(order)), strict=False)
