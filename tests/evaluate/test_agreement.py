from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.preprocessing import MultiLabelBinarizer

from compiler.evaluate.agreement import averaged, calibration_error, counts
from compiler.evaluate.scored import metric

RIGHT = ["a", "b", "a", "c", "b", "a", "d", "c", "a", "b"]
GIVEN = ["a", "b", "b", "c", "a", "a", "a", "b", "a", "e"]
THEIRS = {"precision": precision_score, "recall": recall_score, "f1": f1_score}


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("part", THEIRS)
def test_single_labels_score_as_in_scikit_learn(part, average) -> None:
    found = averaged(counts([[(0, x)] for x in GIVEN], [[(0, x)] for x in RIGHT]), part, average)
    expected = THEIRS[part](RIGHT, GIVEN, average=average, zero_division=0)
    assert found.statistic(np.arange(len(RIGHT))) == pytest.approx(expected)


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("part", THEIRS)
def test_several_labels_score_as_in_scikit_learn(part, average) -> None:
    right, given = [("a", "b"), ("b",), (), ("a", "c")], [("a",), ("b", "c"), ("a",), ("a", "c")]
    rows = MultiLabelBinarizer().fit(right + given)
    expected = THEIRS[part](rows.transform(right), rows.transform(given), average=average, zero_division=0)
    found = averaged(counts([[(0, x) for x in i] for i in given], [[(0, x) for x in i] for i in right]), part, average)
    assert found.statistic(np.arange(len(right))) == pytest.approx(expected)


def test_nothing_given_and_nothing_expected_is_zero() -> None:
    assert averaged(counts([[], []], [[], []]), "f1", "macro").statistic(np.arange(2)) == 0


def test_calibration_error_by_hand() -> None:
    # Bins of 0.5: (0.2, 0.4) with half right, (0.6, 0.9, 1.0) with two thirds right.
    found = calibration_error([0.2, 0.4, 0.6, 0.9, 1.0], [True, False, False, True, True], bins=2)
    expected = 2 / 5 * abs(0.5 - 0.3) + 3 / 5 * abs(2 / 3 - 2.5 / 3)
    assert found.statistic(np.arange(5)) == pytest.approx(expected)


def test_the_interval_holds_the_value_and_shrinks_with_data() -> None:
    def width(times: int) -> float:
        found = counts([[(0, x)] for x in GIVEN * times], [[(0, x)] for x in RIGHT * times])
        record = metric("f1_macro", "share", "higher", averaged(found, "f1", "macro"))
        assert record.low < record.value < record.high
        assert record.samples == 10 * times
        return record.high - record.low

    assert width(20) < width(2) / 2
