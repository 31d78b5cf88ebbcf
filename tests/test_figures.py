"""A value that breaks its limit is shown so that one sees it; limits as they were given."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from compiler.cli.summary import show_findings
from compiler.figures import all_beside, apart, beside, exact
from compiler.records import Finding
from compiler.records.divergence import Layer
from compiler.stages import seal
from tests.cli.conftest import checked


@pytest.mark.parametrize(
    ("value", "limit", "shown"),
    [
        (0.99940152, 0.99940157, ("0.9994015", "0.99940157")),
        (0.99940162, 0.99940157, ("0.99940162", "0.99940157")),
        (0.9987654, 0.99999, ("0.9988", "0.99999")),
        (1.5, 1.02, ("1.5", "1.02")),
        (0.9994, 0.9994, ("0.9994", "0.9994")),
        (1.02 + 2**-52, 1.02, ("1.0200000000000002", "1.02")),
        (3e-05, 0.0, ("3e-05", "0")),
        (1.25e-05, 2.0 / 3 * 1e-05, ("1.25e-05", "6.667e-06")),
        (1e-05 / 3 * (1 + 1e-9), 1e-05 / 3, ("3.33333334e-06", "3.33333333e-06")),
        (math.inf, 1.02, ("inf", "1.02")),
        (math.nan, 1.02, ("nan", "1.02")),
    ],
)
def test_a_value_beside_its_limit(value: float, limit: float, shown: tuple[str, str]) -> None:
    assert beside(value, limit) == shown


def test_two_measured_values_are_told_apart() -> None:
    assert apart(0.123456789, 0.123459999) == ("0.123457", "0.12346")
    assert apart(12.3456789, 50.0) == ("12.35", "50")


def test_all_values_of_one_row_are_told_apart_from_their_limit() -> None:
    assert all_beside([0.02, 0.029999999], 0.03, "+") == (["+0.02", "+0.029999999"], "0.03")
    assert all_beside([], 0.03) == ([], "0.03")


def test_a_number_as_it_was_given() -> None:
    assert (exact(0.99940157), exact(1e-05), exact(1.0), exact(1 / 3)) == ("0.99940157", "1e-05", "1", "0.3333")


NEAR = Finding(name="cosine.min", value=0.99940152, unit="cosine", samples=1, better="higher", limit=0.99940157)
FEW = Finding(name="top1", value=0.95, unit="share", samples=20, better="higher", limit=0.9, low=0.89999, high=0.99)


def test_records_show_what_fails_as_failing() -> None:
    assert (NEAR.shown, NEAR.shown_limit) == ("0.9994015", "0.99940157")
    layer = Layer(module="a", error=0.10000001, scale=1.0, noise=0.0, samples=1, limit=0.1)
    assert (layer.shown, layer.shown_limit) == ("0.10000001", "0.1")


def test_every_place_shows_a_failing_value_apart_from_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    show_findings((NEAR,))
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if "cosine.min" in line]
    assert row[1:4] == ["0.9994015", ">=", "0.99940157"]

    failed = replace(checked(), findings=(NEAR, FEW), reasons=("cosine", "top1: undecided"))
    error = seal.outside("bundle", failed)
    assert error.found == "cosine.min 0.9994015 cosine; top1 0.95 share (95 % interval 0.89999 to 0.99)"
    assert error.expected == "cosine.min >= 0.99940157; top1 >= 0.9"
