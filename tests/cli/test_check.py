"""`compile check --bisect`: the growth of the error as a table with bars."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from compiler import pipeline
from compiler.cli.divergence import bars
from compiler.errors import BudgetError
from tests.cli.conftest import Invoke, checked
from tests.report.reports import DIVERGED, LAYERS


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `tests/check` shows to be found in real bundles."""
    monkeypatch.setattr(pipeline, "check", lambda *_, **__: checked())
    monkeypatch.setattr(pipeline, "bisect", lambda *_, **__: DIVERGED)


def test_a_person_sees_every_layer_and_the_first_that_differs(invoke: Invoke, certified: Path) -> None:
    answer = invoke("check", certified, "--bisect")
    assert answer.code == BudgetError.exit_code
    lines = answer.stdout.splitlines()
    rows = [line.split() for line in lines if line.strip().startswith("model.layers.")]
    assert [row[0] for row in rows] == ["model.layers.0", *(f"model.layers.{i}" for i in (1, 2, 3, "2.mlp", 2))]
    assert ["OUTSIDE" in row for row in rows] == [False, False, True, True, True, False]
    assert "NaN or infinity" in answer.stdout
    assert "first layer outside its limit: model.layers.2, in model.layers.2.mlp" in lines
    assert "without a tensor of its own in the engine: pooler" in lines
    assert f"difference from PyTorch: {DIVERGED.measure}" in lines
    assert "error:" not in answer.stdout
    assert "of the largest value" in answer.stdout


def test_a_difference_that_is_a_share_has_no_second_column_for_it(
    invoke: Invoke, certified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = replace(DIVERGED, layers=tuple(replace(layer, scale=1.0) for layer in LAYERS), within=())
    monkeypatch.setattr(pipeline, "bisect", lambda *_, **__: shares)
    answer = invoke("check", certified, "--bisect")
    assert "of the largest value" not in answer.stdout
    rows = [line.split() for line in answer.stdout.splitlines() if line.strip().startswith("model.layers.2")]
    assert rows[0][:4] == ["model.layers.2", "0.5", "1e-05", "4096"]


def test_json_has_the_record(invoke: Invoke, certified: Path) -> None:
    answer = invoke("check", certified, "--bisect", "--json")
    assert answer.json["diverged"]["first"] == "model.layers.2"
    assert answer.json["diverged"]["layers"][3]["error"] is None
    assert "diverged" not in invoke("check", certified, "--json").json


def test_bars_grow_with_the_logarithm() -> None:
    assert bars(LAYERS, 20) == ["", "#", "#" * 20, "!" * 20]
    assert bars([replace(LAYERS[1], error=error) for error in (1e-6, 1e-5, 1e-4)], 21) == ["#", "#" * 11, "#" * 21]
    assert bars([LAYERS[0]], 20) == [""]
    assert bars([replace(LAYERS[1], error=error) for error in (0.0072, 0.0073)], 20) == ["#" * 20] * 2
