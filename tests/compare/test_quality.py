from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from compiler.compare.gates import Gates, Quality
from compiler.compare.quality import verdicts
from compiler.errors import UsageError
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
    assert verdict(metric(scores[:5]), metric(scores[:5])).word == "not enough data"


def test_a_perplexity_is_tested_by_the_losses_of_its_items() -> None:
    losses = np.random.default_rng(0).normal(3, 1, 200)
    common = {"name": "perplexity", "unit": "perplexity", "better": "lower"}
    before = metric(losses, value=float(np.exp(losses.mean())), **common)
    after = metric(losses + 0.05, value=float(np.exp(losses.mean() + 0.05)), **common)
    found = verdict(before, after)
    assert found.test == "paired bootstrap over the items' logarithms"
    assert found.change == pytest.approx(after.value - before.value)
    assert found.word == "worse"
    assert verdict(after, before).word == "better"


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


def test_an_evaluation_of_another_bundle_is_refused() -> None:
    one = evaluated(metric(right(9, 10)))
    known = side()
    known = type(known)(known.side, known.certificate, None, None, {}, digest="2")
    with pytest.raises(UsageError, match="no evaluation of a on"):
        verdicts(known, side("b"), (one, one), Gates())
