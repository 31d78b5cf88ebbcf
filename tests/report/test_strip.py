from __future__ import annotations

import re

import pytest

from compiler.report.strip import LEFT, RIGHT, WIDTH, strip


def test_every_sample_is_a_dot_at_its_place_on_a_common_axis() -> None:
    drawn = strip({"ours": [1.0, 2.0, 2.5], "theirs": [10.0, 5.0]})
    span = WIDTH - LEFT - RIGHT
    xs = [[float(x) for x in re.findall(r"M([\d.]+) ", row.dots)] for row in drawn.rows]
    assert xs == [
        pytest.approx([LEFT + span * 0.1, LEFT + span * 0.2, LEFT + span * 0.25], abs=0.05),
        pytest.approx([LEFT + span, LEFT + span * 0.5], abs=0.05),
    ]
    assert [row.median_x for row in drawn.rows] == pytest.approx([LEFT + span * 0.2, LEFT + span * 0.75], abs=0.05)


def test_rows_lie_within_the_drawing() -> None:
    drawn = strip({name: [1.0, 2.0] for name in "abc"})
    assert [row.name for row in drawn.rows] == ["a", "b", "c"]
    assert all(0 < row.y < drawn.height - 18 for row in drawn.rows)


@pytest.mark.parametrize("largest", [0.0031, 0.9, 4.0, 7.3, 99.0, 1234.5])
def test_ticks_are_few_round_and_start_at_zero(largest: float) -> None:
    values = [value for _, value in strip({"x": [largest]}).ticks]
    assert values[0] == 0.0
    assert 2 <= len(values) <= 6
    assert values[-1] <= largest
    step = values[1]
    assert f"{step:.0e}"[0] in "125"
    assert values == pytest.approx([i * step for i in range(len(values))])
