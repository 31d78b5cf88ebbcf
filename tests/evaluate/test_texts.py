from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats

from compiler.errors import UsageError
from compiler.evaluate import diversity, libraries, texts
from compiler.evaluate.scored import metric

GIVEN = ["the cat sat on the mat today", "a dog barked at night", "rain fell on the old harbour all night long"]
RIGHT = [
    ["the cat sat on a mat today", "a cat was sitting there"],
    ["the dog barked all night"],
    ["rain fell all night"],
]
ALL = np.arange(3)


def test_bleu_and_chrf_are_sacrebleu_s() -> None:
    columns = [[each[0] for each in RIGHT], [RIGHT[0][1], None, None]]
    assert texts.corpus("bleu", GIVEN, RIGHT).statistic(ALL) == sacrebleu.corpus_bleu(GIVEN, columns).score
    assert texts.corpus("chrf", GIVEN, RIGHT).statistic(ALL) == sacrebleu.corpus_chrf(GIVEN, columns).score
    one = sacrebleu.corpus_bleu(GIVEN[1:2], [["the dog barked all night"]]).score
    assert texts.corpus("bleu", GIVEN, RIGHT).statistic(np.array([1])) == one


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_rouge_score_s(kind: str) -> None:
    scorer = RougeScorer([kind])
    expected = [scorer.score_multi(right, given)[kind].fmeasure for given, right in zip(GIVEN, RIGHT, strict=True)]
    found = texts.rouge(kind, GIVEN, RIGHT)
    assert found.items == tuple(expected)
    assert found.statistic(ALL) == pytest.approx(np.mean(expected))


def test_answers_are_compared_without_case_articles_and_punctuation() -> None:
    given = ["The  Eiffel-Tower!", "in 1889", "", "something", ""]
    right = [["eiffeltower"], ["1889", "in the year 1889"], [""], [""], ["Paris"]]
    assert texts.exact_match(given, right).items == (1, 0, 1, 0, 0)
    # "in 1889" against "1889": precision 1/2, recall 1; against "in year 1889": 1, 2/3.
    assert texts.word_f1(given, right).items == pytest.approx((1, 0.8, 1, 0, 0))


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_correlations_are_scipy_s(kind: str) -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=40)
    other = one + generator.normal(size=40)
    coefficient = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[kind]
    record = metric(kind, "r", "higher", texts.correlation(kind, one.tolist(), other.tolist()))
    assert record.value == pytest.approx(coefficient(one, other).statistic)
    assert record.low < record.value < record.high


def test_no_relation_with_a_constant() -> None:
    assert texts.correlation("pearson", [1.0, 1.0], [1.0, 2.0]).statistic(np.arange(2)) == 0


def test_diversity_by_hand() -> None:
    said = ["a b a b a b", "a b c", ""]
    assert diversity.distinct(said, 1).statistic(ALL) == 3 / 9
    assert diversity.distinct(said, 2).statistic(ALL) == 3 / 7
    # "a b a b a b" has three runs of four words, of which abab comes twice.
    assert diversity.repetition(said).items == pytest.approx((1 / 3, 0, 0))
    record = metric("distinct_1", "share", "higher", diversity.distinct(said, 1))
    assert record.low < record.value < record.high


def test_self_bleu_compares_with_all_others() -> None:
    scorer = sacrebleu.metrics.BLEU(effective_order=True)
    expected = [scorer.sentence_score(GIVEN[i], [*GIVEN[i + 1 :], *GIVEN[:i]]).score for i in range(3)]
    assert diversity.self_bleu(GIVEN).items == pytest.approx(expected)
    assert diversity.self_bleu(["same words here again"] * 2).statistic(np.arange(2)) == pytest.approx(100)
    assert diversity.self_bleu(["alone"]).items == (0,)


def test_a_missing_library_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'transformer-compiler\[evaluate\]'"):
        texts.corpus("bleu", GIVEN, RIGHT)
