from __future__ import annotations

import numpy as np
import pytest

from compiler.check.compare import cosine, incomparable, max_abs_error, scores

EXPECTED = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def planted(value: float) -> np.ndarray:
    array = EXPECTED.copy()
    array[1, 2] = value
    return array


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (EXPECTED[:, :3], "output.shape"),
        (EXPECTED.astype(np.float16), "output.dtype"),
        (EXPECTED.astype(np.int64), "output.dtype"),
        (planted(np.nan), "output.nan"),
        (planted(np.inf), "output.inf"),
        (planted(-np.inf), "output.inf"),
    ],
)
def test_what_cannot_be_compared_is_named_and_failed(actual: np.ndarray, reason: str) -> None:
    finding = incomparable(actual, EXPECTED)
    assert finding is not None
    assert finding.name == reason
    assert finding.value == 1
    assert not finding.passed


def test_the_shape_is_judged_before_nan() -> None:
    finding = incomparable(planted(np.nan)[:2], EXPECTED)
    assert finding is not None
    assert finding.name == "output.shape"


def test_different_finite_numbers_can_be_compared() -> None:
    assert incomparable(planted(7.0), EXPECTED) is None


def test_max_abs_error() -> None:
    assert max_abs_error(planted(3.0), planted(-1.5)) == 4.5
    assert max_abs_error(EXPECTED, EXPECTED) == 0.0


def test_cosine_of_known_vectors() -> None:
    actual = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [-2.0, 0.0]])
    expected = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(cosine(actual, expected), [0.0, np.sqrt(0.5), 1.0, 0.0, -1.0])


def test_scores_of_known_distributions() -> None:
    expected = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]))
    actual = np.log(np.array([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]])) + 3.0  # a constant changes nothing
    found = scores(actual, expected, np.array([1, 2]))
    assert found.agree.tolist() == [False, True]
    np.testing.assert_allclose(found.gap, [np.log(2), 0.0], atol=1e-12)
    np.testing.assert_allclose(found.kl, [0.25 * np.log(2), 0.0], atol=1e-12)
    np.testing.assert_allclose(found.nll, [-np.log(0.5), -np.log(0.7)])
    np.testing.assert_allclose(found.reference_nll, [-np.log(0.25), -np.log(0.7)])


def test_scores_do_not_depend_on_how_rows_are_grouped() -> None:
    random = np.random.default_rng(0)
    actual, expected = random.normal(size=(2, 150, 9))
    whole = scores(actual, expected)
    single = [scores(actual[i : i + 1], expected[i : i + 1]).kl[0] for i in range(150)]
    np.testing.assert_allclose(whole.kl, single, rtol=1e-12)


def test_scores_survive_large_logits() -> None:
    found = scores(np.array([[1e5, 0.0]]), np.array([[0.0, 1e5]]), np.array([1]))
    assert np.isfinite([*found.kl, *found.nll, *found.gap]).all()
    assert found.kl[0] == pytest.approx(1e5)
