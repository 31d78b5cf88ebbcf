from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import compiler.check
from compiler.check.limits import NOISE_FACTOR, Limits
from compiler.check.noise import Noise
from compiler.records import Budget


def test_float32_is_judged_by_the_noise_and_grows_with_it() -> None:
    quiet, loud = (
        Limits("float32", Budget(), Noise(noise)).by_noise("output.max_abs_error", 1e-4, 1) for noise in (1e-6, 1e-3)
    )
    assert (quiet.limit, loud.limit) == (NOISE_FACTOR * 1e-6, NOISE_FACTOR * 1e-3)
    assert not quiet.passed
    assert loud.passed


def test_the_budget_may_set_the_factor() -> None:
    assert Limits("float32", Budget(noise_factor=3.0), Noise(1e-3)).error == pytest.approx(3e-3)


def test_quantized_errors_are_shown_but_not_judged_by_noise() -> None:
    assert Limits("int8-dynamic", Budget(), Noise(1e-6)).by_noise("output.max_abs_error", 5.0, 1).limit is None


@pytest.mark.parametrize(
    ("field", "name", "limit", "inside", "outside"),
    [
        ("max_perplexity_ratio", "perplexity.ratio", 1.03, 1.03, 1.04),
        ("max_kl_divergence", "kl.mean", 0.1, 0.09, 0.2),
        ("min_top1_agreement", "top1.agreement", 0.9, 0.95, 0.8),
        ("min_greedy_agreement", "greedy.agreement", 0.8, 0.8, 0.7),
        ("min_cosine", "cosine.min", 0.99, 1.0, 0.98),
    ],
)
def test_a_budget_judges_on_the_right_side(field: str, name: str, limit: float, inside: float, outside: float) -> None:
    limits = Limits("int8-dynamic", msgspec.convert({field: limit}, Budget), Noise(0.0))
    assert limits.by_budget(name, inside, 1, field).passed
    assert not limits.by_budget(name, outside, 1, field).passed
    assert not limits.by_budget(name, float("nan"), 1, field).passed


def test_a_budget_without_the_field_shows_only() -> None:
    assert Limits("int8-dynamic", Budget(), Noise(0.0)).by_budget("kl.mean", 9.0, 1, "max_kl_divergence").limit is None


def test_every_limit_of_the_budget_is_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(compiler.check.__file__).parent.glob("*.py"))
    unused = {field for field in Budget.__struct_fields__ if f'"{field}"' not in source}
    assert unused == {"noise_factor", "rounding_factor"}  # these are no accuracies: `Limits` multiplies by them


@pytest.mark.parametrize(("cosine", "limit"), [(1.0, 0.0), (0.98, 0.2), (0.5, 1.0)])
def test_a_relative_error_may_be_what_unit_vectors_of_the_budgets_cosine_are_apart(cosine: float, limit: float) -> None:
    limits = Limits("int8-dynamic", Budget(min_cosine=cosine), Noise(0.0))
    found = limits.by_distance("spread.error", limit + 0.01, 1, "min_cosine")
    assert found.limit == pytest.approx(limit)
    assert not found.passed
    assert limits.by_distance("spread.error", limit - 0.01, 1, "min_cosine").passed
    assert Limits("int8-dynamic", Budget(), Noise(0.0)).by_distance("spread.error", 9.0, 1, "min_cosine").passed
