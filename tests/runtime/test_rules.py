"""Each rule beside transformers' own, on random scores and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.runtime.rules import Rules, log_softmax

VOCABULARY, ENDS = 40, (3, 5)
SOURCE = [0, 1, 2, 2, 0, 1, 1, 30]


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    import torch
    from transformers.generation import logits_process as p

    source = torch.tensor([SOURCE])
    return {
        "sequence_bias": lambda value: p.SequenceBiasLogitsProcessor([[list(word), bias] for word, bias in value]),
        "encoder_repetition_penalty": lambda value: p.EncoderRepetitionPenaltyLogitsProcessor(value, source),
        "repetition_penalty": p.RepetitionPenaltyLogitsProcessor,
        "no_repeat_ngram_size": p.NoRepeatNGramLogitsProcessor,
        "encoder_no_repeat_ngram_size": lambda value: p.EncoderNoRepeatNGramLogitsProcessor(value, source),
        "bad_words": lambda value: p.NoBadWordsLogitsProcessor([list(word) for word in value]),
        "min_length": lambda value: p.MinLengthLogitsProcessor(value, list(ENDS)),
        "min_new_tokens": lambda value: p.MinNewTokensLengthLogitsProcessor(1, value, list(ENDS)),
        "first": p.ForcedBOSTokenLogitsProcessor,
        "last": lambda value: p.ForcedEOSTokenLogitsProcessor(12, list(value)),
        "remove_invalid": lambda value: p.InfNanRemoveLogitsProcessor(),
        "decay": lambda value: p.ExponentialDecayLengthPenalty(value, list(ENDS), 1),
        "suppressed": p.SuppressTokensLogitsProcessor,
        "suppressed_first": lambda value: p.SuppressTokensAtBeginLogitsProcessor(value, 1),
        "renormalize": lambda value: p.LogitNormalization(),
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.4},
        {"repetition_penalty": 0.6},
        *({"no_repeat_ngram_size": size} for size in (1, 2, 3)),
        {"bad_words": ((7,), (1, 2), (0, 1, 2), (2, 0), (1, 0), (0, 0))},
        {"sequence_bias": (((7,), 3.0), ((7, 1), -2.5), ((0, 1), 4.0), ((2, 0, 1), 1.5), ((1,), 0.5))},
        {"encoder_repetition_penalty": 1.7},
        {"encoder_repetition_penalty": 0.3, "repetition_penalty": 1.2},
        *({"encoder_no_repeat_ngram_size": size} for size in (1, 2, 3, 4)),
        {"bad_words": ((7,),), "remove_invalid": True, "suppressed": (8,)},
        {"decay": (3, 1.3)},
        {"decay": (3, 0.7), "min_length": 7},
        {"decay": (0, 2.0), "renormalize": True},
        {"min_length": 7},
        {"min_new_tokens": 6},
        {"first": 9},
        {"last": (5, 6)},
        {"suppressed": (1, 30)},
        {"suppressed_first": (2, 31)},
        {"renormalize": True, "suppressed": (1, 30)},
        {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "min_length": 8, "last": (5,), "suppressed": (5, 9)},
    ],
    ids=str,
)
def test_scores_are_those_of_transformers(theirs: dict[str, Any], settings: dict[str, Any]) -> None:
    import torch

    rules = Rules(**settings, ends=ENDS)
    order = [name for name in theirs if name in settings]
    random = np.random.default_rng(0)
    for size in range(1, 13):
        tokens = random.integers(0, 3, size).tolist()  # repeats much
        logits = random.normal(size=VOCABULARY).astype(np.float32)
        before = logits.copy()
        expected = torch.from_numpy(logits[None].copy())
        for name in order:
            expected = theirs[name](settings[name])(torch.tensor([tokens]), expected)
        found = rules(logits, tokens, size - 1, 11, SOURCE)  # 1 token of prompt
        np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(logits, before)


def test_a_forced_first_token_comes_before_those_that_may_not_begin() -> None:
    rules = Rules(first=4, suppressed_first=(4, 6))
    scores = np.zeros(8, np.float32)
    assert np.flatnonzero(rules(scores, [1], 0, 9) == 0).tolist() == [4]
    assert np.flatnonzero(np.isinf(rules(scores, [1, 4], 1, 9))).tolist() == [4, 6]


def test_tokens_that_have_no_logit_are_passed_over() -> None:
    rules = Rules(repetition_penalty=2.0, no_repeat_ngram_size=1)
    assert rules(np.ones(4, np.float32), [2, 9], 0, 5).tolist() == [1, 1, -np.inf, 1]


def test_no_rule_is_not_active() -> None:
    assert not Rules(ends=ENDS).active
    assert Rules(min_new_tokens=1).active


def test_log_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (3, 50)).astype(np.float32)
    np.testing.assert_allclose(np.exp(log_softmax(logits)).sum(axis=-1), 1, rtol=1e-5)


def test_what_is_answered_is_the_prompt_where_nothing_else_is_said() -> None:
    rules = Rules(encoder_no_repeat_ngram_size=1)
    assert np.flatnonzero(np.isinf(rules(np.zeros(8, np.float32), [1, 6, 3], 1, 9))).tolist() == [1, 6]


def test_a_rule_about_ends_needs_one_that_has_a_score() -> None:
    rules = Rules(min_new_tokens=5, decay=(0, 2.0), suppressed=(9,), ends=(8, 2**30))
    np.testing.assert_array_equal(rules(np.ones(8, np.float32), [1, 2], 1, 9), np.ones(8))


def test_a_decay_without_measure_stays_a_number() -> None:
    found = Rules(decay=(0, 1e300), ends=(3,))(np.ones(8, np.float32), [1, 2, 3], 2, 9)
    assert np.isfinite(found).all()
    assert found.argmax() == 3


def test_numbers_that_are_none_can_be_removed() -> None:
    scores = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    largest = np.finfo(np.float32).max
    assert Rules(remove_invalid=True)(scores, [1], 0, 9).tolist() == [0, largest, -largest, 1]
