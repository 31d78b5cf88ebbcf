from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from compiler.statistics import (
    NORMAL,
    difference_of_shares,
    mcnemar,
    mean_difference,
    ratio_of_rounds,
    student,
)

TRIALS = 300


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (5, 5, 1.0),
        (0, 5, 0.0625),
        (9, 1, 0.021484375),
        (1, 9, 0.021484375),
        (12, 2, 0.012939453125),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int, p: float) -> None:
    assert mcnemar(lost, won) == p


def test_mcnemar_of_very_many_items() -> None:
    assert mcnemar(5000, 5000) == 1.0
    assert 0 <= mcnemar(4000, 6000) < 1e-80


@pytest.mark.parametrize("rounds", [4, 6, 12])
@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_ratio_holds_it_in_about_95_of_100(rounds: int, paired: bool) -> None:
    """Every round and process is off by a few percent, which all of its samples share; a true ratio of 1.05."""
    generator = np.random.default_rng(7)

    def measured(centre: float, drift: np.ndarray) -> list[np.ndarray]:
        shared = drift + generator.normal(0, 0.02, rounds)
        return [centre * np.exp(each + generator.normal(0, 0.05, 20)) for each in shared]

    hits = 0
    for _ in range(TRIALS):
        drifts = [generator.normal(0, 0.1, rounds)] * 2 if paired else [np.zeros(rounds)] * 2
        above, below = measured(1.05, drifts[0]), measured(1.0, drifts[1])
        ratio = ratio_of_rounds(above, below, paired=paired)
        assert ratio.low <= ratio.value <= ratio.high
        hits += ratio.low <= 1.05 <= ratio.high
    assert 0.91 <= hits / TRIALS <= 0.995


def test_more_samples_of_the_same_rounds_make_a_ratio_no_surer() -> None:
    generator = np.random.default_rng(3)
    levels = generator.normal(0, 0.03, (2, 6))

    def interval(samples: int) -> float:
        sides = ([np.exp(level + generator.normal(0, 0.001, samples)) for level in side] for side in levels)
        found = ratio_of_rounds(*sides, paired=True)
        return found.high - found.low

    assert interval(5) == pytest.approx(interval(500), rel=0.05)


def test_one_disturbed_round_does_not_move_a_ratio() -> None:
    quiet = [[1.0, 1.01, 0.99]] * 7
    assert ratio_of_rounds([*quiet, [2.0, 2.1, 2.2]], [*quiet, [1.0, 1.0, 1.0]], paired=True).value < 1.01


def test_a_ratio_needs_two_rounds() -> None:
    with pytest.raises(ValueError, match="two rounds"):
        ratio_of_rounds([[1.0]], [[1.0]], paired=True)
    with pytest.raises(ValueError, match="as many of both"):
        ratio_of_rounds([[1.0]] * 3, [[1.0]] * 2, paired=True)


def test_quantiles_are_scipy_s() -> None:
    assert pytest.approx(stats.norm.ppf(0.975), abs=1e-6) == NORMAL
    assert [student(freedom) for freedom in range(1, 31)] == pytest.approx(
        [stats.t.ppf(0.975, freedom) for freedom in range(1, 31)], abs=5.1e-4
    )
    assert student(3) == 3.182
    assert student(31) == pytest.approx(2.0395, abs=0.003)
    assert student(120) == pytest.approx(1.9799, abs=0.001)


@pytest.mark.parametrize("items", [20, 200])
def test_the_interval_of_a_difference_of_shares(items: int) -> None:
    """Of the items, 10 % are lost and 5 % are won."""
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(TRIALS):
        lost, won, _rest = generator.multinomial(items, [0.10, 0.05, 0.85])
        share = difference_of_shares(int(lost), int(won), items)
        hits += share.low <= -0.05 <= share.high
    assert 0.91 <= hits / TRIALS <= 0.995


def test_a_few_items_without_a_difference_prove_nothing() -> None:
    low, high = difference_of_shares(0, 0, 5)[1:]
    assert low < -0.2
    assert high > 0.2
    low, high = difference_of_shares(0, 0, 2000)[1:]
    assert -0.002 < low < high < 0.002


def test_mean_difference_is_paired() -> None:
    """Items differ much from each other, and little from one side to the other."""
    generator = np.random.default_rng(0)
    before = generator.normal(0, 10, 400)
    after = before + 0.5 + generator.normal(0, 0.2, 400)
    found = mean_difference(after.tolist(), before.tolist())
    assert found.value == pytest.approx(0.5, abs=0.05)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.2 / math.sqrt(400), rel=0.15)
