from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.records import Budget, Checked, Finding
from tests.check.toy import Toy, ToySession, checked, manifest

CLOSE = np.float32(0.03)  # logits
BUDGET = Budget(max_perplexity_ratio=1.03, max_kl_divergence=0.05, min_top1_agreement=0.9, min_greedy_agreement=0.9)


def finding(result: Checked, name: str) -> Finding:
    return next(found for found in result.findings if found.name == name)


def test_the_same_model_passes(tmp_path: Path) -> None:
    result = checked(ToySession(Toy(noise=1e-6)), manifest("decoder"), tmp_path, noise=2e-6)
    assert result.passed
    assert finding(result, "perplexity.ratio").value == pytest.approx(1.0, abs=1e-4)
    assert finding(result, "greedy.prefix").value == 40  # what the context leaves of 64
    assert finding(result, "greedy.agreement").limit == 1.0
    assert finding(result, "output.max_abs_error").value > 0


def test_the_perplexity_is_that_of_the_text(tmp_path: Path) -> None:
    uniform = ToySession(Toy(), np.zeros_like)
    result = checked(uniform, manifest("decoder", "int4-weights"), tmp_path)
    assert finding(result, "perplexity.engine").value == pytest.approx(54)
    ours, theirs = (finding(result, f"perplexity.{whose}").value for whose in ("engine", "reference"))
    assert finding(result, "perplexity.ratio").value == pytest.approx(ours / theirs)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_single_bad_logit_fails(value: float, tmp_path: Path) -> None:
    def change(logits: np.ndarray) -> np.ndarray:
        logits = logits.copy()
        logits[..., -1, 7] = value
        return logits

    reasons = checked(ToySession(Toy(), change), manifest("decoder"), tmp_path).reasons
    assert reasons == ("output.nan" if np.isnan(value) else "output.inf",)


def test_quantized_logits_are_judged_by_the_budget(tmp_path: Path) -> None:
    about = manifest("decoder", "int4-weights")

    def noisy(scale: float) -> ToySession:
        return ToySession(Toy(noise=scale))

    assert checked(noisy(0.01), about, tmp_path, budget=BUDGET).passed
    reasons = checked(noisy(4.0), about, tmp_path, budget=BUDGET).reasons
    assert {"top1.agreement", "kl.mean", "perplexity.ratio", "greedy.agreement"} <= set(reasons)


def test_a_cache_that_loses_a_token_fails(tmp_path: Path) -> None:
    forgetful = ToySession(Toy(), forget=lambda row: row if len(row) < 30 else row[1:])
    exact = checked(forgetful, manifest("decoder"), tmp_path).reasons
    assert {"cache.max_abs_error", "greedy.agreement"} <= set(exact)
    assert "output.max_abs_error" not in exact
    quantized = checked(forgetful, manifest("decoder", "int4-weights"), tmp_path, budget=Budget(max_kl_divergence=1e-4))
    assert quantized.reasons == ("longest.cache.kl.mean", "cache.kl.mean")


class LeaksBetweenRows(ToySession):
    """An engine whose batches take the shortest row's length for all."""

    def decode(self, cache, batch, capacity):  # type: ignore[no-untyped-def]
        decoding = super().decode(cache, batch, capacity)
        step = decoding.step
        decoding.step = lambda ids, lengths: step(ids, np.full_like(lengths, lengths.min()))
        return decoding


def test_a_batch_of_unequal_prompts_that_differs_from_single_ones_fails(tmp_path: Path) -> None:
    assert checked(LeaksBetweenRows(Toy()), manifest("decoder"), tmp_path).reasons == (
        "batch.max_abs_error",
        "batch.cosine.min",
        "company.cosine.min",
    )


def second_best(logits: np.ndarray) -> np.ndarray:
    """The most likely token falls just below the next one where they are close."""
    logits = logits.copy()
    second, first = np.split(np.sort(logits, axis=-1)[..., -2:], 2, axis=-1)
    below = np.where(first - second < CLOSE, second - np.float32(1e-3), first)
    np.put_along_axis(logits, logits.argmax(axis=-1)[..., None], below, axis=-1)
    return logits


def test_a_tie_within_the_noise_is_no_other_choice(tmp_path: Path) -> None:
    """Another choice passes where the reference's own noise is as large as its preference, and fails elsewhere."""
    calm = checked(ToySession(Toy(), second_best), manifest("decoder"), tmp_path, noise=0.0)
    loud = checked(ToySession(Toy(), second_best), manifest("decoder"), tmp_path, noise=CLOSE / 10)
    assert "greedy.agreement" in calm.reasons
    assert finding(calm, "greedy.agreement").value < 1.0
    assert finding(calm, "greedy.prefix").value < 40
    assert finding(calm, "greedy.margin").value > 0
    assert finding(loud, "greedy.agreement").value == 1.0
    assert finding(loud, "greedy.margin").value == 0.0
