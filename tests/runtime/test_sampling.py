from __future__ import annotations

import numpy as np
import pytest

from compiler.errors import EngineError, InputError
from compiler.runtime.sampling import Sampler, Sampling

LOGITS = np.log(np.array([0.1, 0.5, 0.25, 0.15], np.float32))


def draws(sampling: Sampling, count: int = 4000, row: int = 0) -> np.ndarray:
    sampler = Sampler(sampling, row)
    return np.bincount([sampler(LOGITS) for _ in range(count)], minlength=4) / count


def test_greedy_takes_the_largest_logit() -> None:
    assert Sampler(Sampling(), 0)(LOGITS) == 1


def test_temperature_one_follows_the_probabilities() -> None:
    np.testing.assert_allclose(draws(Sampling(temperature=1, seed=1)), [0.1, 0.5, 0.25, 0.15], atol=0.03)


def test_temperature_sharpens() -> None:
    expected = np.array([0.1, 0.5, 0.25, 0.15]) ** 2
    np.testing.assert_allclose(draws(Sampling(temperature=0.5, seed=1)), expected / expected.sum(), atol=0.03)


def test_a_tiny_temperature_is_greedy() -> None:
    assert draws(Sampling(temperature=1e-300, seed=1), 50)[1] == 1


def test_top_k_leaves_the_k_likeliest() -> None:
    np.testing.assert_allclose(draws(Sampling(temperature=1, top_k=2, seed=1)), [0, 2 / 3, 1 / 3, 0], atol=0.03)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, [1]), (0.6, [1, 2]), (0.8, [1, 2, 3]), (0.95, [0, 1, 2, 3])])
def test_top_p_leaves_the_fewest_that_reach_it(top_p: float, kept: list[int]) -> None:
    assert np.flatnonzero(draws(Sampling(temperature=1, top_p=top_p, seed=1))).tolist() == kept


@pytest.mark.parametrize(("min_p", "kept"), [(0.0, [0, 1, 2, 3]), (0.25, [1, 2, 3]), (0.4, [1, 2]), (1.0, [1])])
def test_min_p_leaves_those_near_the_likeliest(min_p: float, kept: list[int]) -> None:
    assert np.flatnonzero(draws(Sampling(temperature=1, min_p=min_p, seed=1))).tolist() == kept


def test_all_filters_together_leave_what_transformers_leaves() -> None:
    import torch
    from transformers.generation import logits_process as processors

    logits = np.random.default_rng(2).normal(0, 2, 60).astype(np.float32)
    scores = torch.from_numpy(logits[None].copy())
    for warper in (
        processors.TemperatureLogitsWarper(1.7),
        processors.TopKLogitsWarper(30),
        processors.TopPLogitsWarper(0.8),
        processors.MinPLogitsWarper(0.1),
    ):
        scores = warper(None, scores)
    expected = scores.softmax(-1)[0].numpy()
    sampler = Sampler(Sampling(temperature=1.7, top_k=30, top_p=0.8, min_p=0.1, seed=1), 0)
    found = np.bincount([sampler(logits) for _ in range(20000)], minlength=60) / 20000
    assert 3 < np.count_nonzero(expected) < 30
    assert np.flatnonzero(found).tolist() == np.flatnonzero(expected).tolist()
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_forbidding_every_token_is_an_error() -> None:
    with pytest.raises(InputError, match="no token is left"):
        Sampler(Sampling(), 0)(np.full(4, -np.inf, np.float32))


def test_top_p_equals_sorting_the_whole_vocabulary() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 4, 5000).astype(np.float32)
    weights = np.exp(logits.astype(np.float64) - logits.max())
    order = np.argsort(-weights)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    nucleus = set(order[: np.searchsorted(cumulative, 0.9) + 1].tolist())
    sampler = Sampler(Sampling(temperature=1, top_p=0.9, seed=3), 0)
    drawn = {sampler(logits) for _ in range(3000)}
    assert drawn <= nucleus
    assert order[0] in drawn


def test_a_seed_reproduces_and_rows_differ() -> None:
    sampling = Sampling(temperature=1, seed=5)

    def tokens(row: int) -> list[int]:
        sampler = Sampler(sampling, row)
        return [sampler(LOGITS) for _ in range(30)]

    assert tokens(0) == tokens(0)
    assert tokens(0) != tokens(1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_an_error(value: float) -> None:
    logits = LOGITS.copy()
    logits[2] = value
    with pytest.raises(EngineError, match="not a number"):
        Sampler(Sampling(temperature=1), 0)(logits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"top_k": 1.5},
        {"min_p": 1.5},
        {"min_p": "x"},
        {"seed": -1},
        {"seed": "x"},
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]
