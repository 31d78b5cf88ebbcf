from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import pytest

from compiler.compare.gates import Gates, Quality
from compiler.compare.quality import verdicts
from compiler.errors import UsageError
from compiler.evaluate.scored import Scored
from compiler.evaluate.scored import metric as score
from compiler.machine import detect
from compiler.records import Evaluated, Metric, System
from compiler.records.comparison import Verdict
from tests.compare.sides import side


def evaluated(*metrics: Metric, **changes: Any) -> Evaluated:
    """Of the reference and one bundle."""
    systems = (
        System(name="reference", location="model", digest="0", metrics=metrics),
        System(name="bundle", location="bundle", digest="1", metrics=metrics),
    )
    made = Evaluated(
        task="t", data="test.jsonl", data_digest="d", items=9, seed=0, systems=systems, machine=detect(), seconds=1.0
    )
    return msgspec.structs.replace(made, **changes)


def metric(items: np.ndarray, name: str = "accuracy", value: float | None = None, **changes: Any) -> Metric:
    mean = float(items.mean()) if value is None else value
    made = Metric(
        name=name, value=mean, unit="share", better="higher", low=mean - 0.1, high=mean + 0.1, samples=len(items),
        items=tuple(items.tolist()),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def verdict(before: Metric, after: Metric, gates: Gates | None = None) -> Verdict:
    found = verdicts(side(), side("b"), (evaluated(before), evaluated(after)), gates or Gates())
    assert len(found) == 1
    return found[0]


def right(count: int, of: int) -> np.ndarray:
    return (np.arange(of) < count).astype(float)


def test_items_that_are_right_or_wrong_are_tested_by_mcnemar() -> None:
    found = verdict(metric(right(900, 1000)), metric(right(850, 1000)))
    assert found.test == "McNemar, 50 of 1000 items differ"
    assert found.p_value == pytest.approx(2 * 0.5**50)
    assert found.change == pytest.approx(0.05)
    assert found.margin == pytest.approx(0.009)
    assert (found.word, found.code) == ("worse", "quality-drop:accuracy")


def test_the_same_answers_on_a_few_items_prove_nothing() -> None:
    few = verdict(metric(right(9, 10)), metric(right(9, 10)))
    assert few.word == "not enough data"
    assert few.more
    assert few.more > 100
    assert verdict(metric(right(2700, 3000)), metric(right(2700, 3000))).word == "same"


def test_other_scores_are_resampled_by_item() -> None:
    generator = np.random.default_rng(0)
    scores = generator.uniform(0.3, 0.9, 300)
    found = verdict(metric(scores), metric(scores - 0.1 + generator.normal(0, 0.01, 300)))
    assert found.test == "paired bootstrap over items"
    assert found.word == "worse"
    assert found.change == pytest.approx(0.1, abs=0.005)
    assert verdict(metric(scores), metric(scores + 0.1)).word == "better"
    few = verdict(metric(scores[:5]), metric(scores[:5]))
    assert (few.word, few.more) == ("not enough data", 15)  # 20 items are the least


def perplexity(losses: np.ndarray, tokens: np.ndarray) -> Metric:
    """As an evaluation has it: each text's own, which counts by its tokens."""
    value = float(np.exp(np.average(losses, weights=tokens)))
    named = {"name": "perplexity", "unit": "perplexity", "better": "lower", "weights": tuple(tokens.tolist())}
    return metric(np.exp(losses), value=value, **named)


def test_a_perplexity_is_tested_by_the_losses_of_its_items() -> None:
    generator = np.random.default_rng(0)
    losses, tokens = generator.normal(3, 1, 200), generator.integers(5, 500, 200).astype(float)
    before, after = perplexity(losses, tokens), perplexity(losses + 0.05, tokens)
    found = verdict(before, after)
    assert found.test == "paired bootstrap over the items' logarithms"
    assert found.change == pytest.approx(after.value - before.value)
    assert found.word == "worse"
    assert verdict(after, before).word == "better"


def test_items_that_count_differently_are_paired_too() -> None:
    """The share of words that are right, of sentences of unequal length."""
    generator = np.random.default_rng(0)
    words = generator.integers(1, 40, 300).astype(float)
    first = generator.uniform(0.8, 1.0, 300)
    second = first - 0.05 * (words > 20)
    weighted = {"weights": tuple(words.tolist())}
    before, after = (metric(each, value=float(np.average(each, weights=words)), **weighted) for each in (first, second))
    found = verdict(before, after)
    assert (found.test, found.word) == ("paired bootstrap over items", "worse")
    assert found.change == pytest.approx(before.value - after.value)


def drawn(values: np.ndarray, kind: str, **changes: Any) -> Metric:
    """A metric that only all items together have: here the spread of their values."""
    scored = Scored(lambda rows: float(np.std(values[rows])), len(values), interval=cast("Any", kind))
    return msgspec.structs.replace(score("spread", "BLEU", "higher", scored), **changes)


@pytest.mark.parametrize("kind", ["bootstrap", "jackknife"])
def test_a_metric_of_the_whole_is_paired_by_the_same_resampled_items(kind: str) -> None:
    values = np.random.default_rng(0).normal(0, 10, 200)
    before, after = drawn(values, kind), drawn(0.95 * values, kind)
    found = verdict(before, after)
    assert (found.test, found.word) == (f"paired {kind} over items", "worse")
    assert found.change == pytest.approx(0.05 * before.value)
    assert found.high is not None
    assert found.low is not None
    assert found.high - found.low < 0.1 * (before.high - before.low)  # which both vary together
    alone = verdict(msgspec.structs.replace(before, draws=()), after)
    assert (alone.test, alone.word) == ("both intervals, not paired", "not enough data")


def test_what_answers_cost_is_no_quality() -> None:
    fast, slow = (
        Metric(name="latency", value=value, unit="ms", better="lower", low=value, high=value, samples=32)
        for value in (1.0, 2.0)
    )
    fell = metric(right(9, 10), name="accuracy.case.drop")
    for before, after in ((fast, slow), (fell, fell)):
        assert verdicts(side(), side("b"), (evaluated(before), evaluated(after)), Gates()) == []


def test_a_few_items_that_all_got_worse_need_more_before_it_is_sure() -> None:
    found = verdict(metric(right(5, 5)), metric(right(0, 5)))
    assert (found.word, found.p_value) == ("not enough data", 0.0625)
    assert found.more == 1  # six of six are significant


def test_a_metric_of_the_whole_is_compared_by_its_intervals() -> None:
    before, after = (
        Metric(name="bleu", value=v, unit="BLEU", better="higher", low=v - 1, high=v + 1, samples=500)
        for v in (30.0, 20.0)
    )
    found = verdict(before, after)
    assert found.test == "both intervals, not paired"
    assert found.change == 10
    assert found.low == pytest.approx(10 - 2**0.5)
    assert found.word == "worse"


def test_a_gate_for_one_metric_is_in_its_own_unit() -> None:
    gates = Gates(quality=Quality(metrics={"accuracy": 0.2}))
    found = verdict(metric(right(900, 1000)), metric(right(850, 1000)), gates)
    assert (found.margin, found.word) == (0.2, "same")
    with pytest.raises(UsageError, match='did you mean "accuracy"'):
        verdict(metric(right(9, 10)), metric(right(9, 10)), Gates(quality=Quality(metrics={"acuracy": 0.2})))


@pytest.mark.parametrize(("field", "words"), [("data_digest", "different data"), ("task", "different tasks")])
def test_other_items_are_refused(field: str, words: str) -> None:
    one = evaluated(metric(right(9, 10)))
    with pytest.raises(UsageError, match=words):
        verdicts(side(), side("b"), (one, msgspec.structs.replace(one, **{field: "another"})), Gates())


def test_a_metric_that_the_candidate_was_not_evaluated_by_is_missed() -> None:
    first, second = metric(right(9, 10)), metric(right(9, 10), name="f1")
    cost = metric(right(9, 10), name="seconds", unit="ms")
    both, one = evaluated(first, second, cost), evaluated(first)
    assert cost.is_cost
    with pytest.raises(UsageError, match="f1") as caught:
        verdicts(side(), side("b"), (both, one), Gates())
    assert "accuracy" not in str(caught.value)
    assert "seconds" not in str(caught.value)
    assert [each.name for each in verdicts(side(), side("b"), (one, both), Gates())] == ["accuracy"]
    loose = Gates(quality=Quality(enforce=False))
    assert [each.name for each in verdicts(side(), side("b"), (both, one), loose)] == ["accuracy"]


def test_an_evaluation_of_another_bundle_is_refused() -> None:
    one = evaluated(metric(right(9, 10)))
    known = side()
    known = type(known)(known.side, known.certificate, None, None, {}, digest="2")
    with pytest.raises(UsageError, match="no evaluation of a on"):
        verdicts(known, side("b"), (one, one), Gates())
