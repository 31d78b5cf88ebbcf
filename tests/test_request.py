"""A request is one record, whoever asks; mistakes in it are found before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from compiler import pipeline, records
from compiler.errors import UsageError
from compiler.request import BuildRequest, ModelRequest, request


def test_a_model_and_choices_are_a_request() -> None:
    wanted = request(
        BuildRequest, Path("m"), {"traffic": Path("t"), "adapters": [Path("a"), "n=b"], "targets": ["sm89"]}
    )
    assert wanted == BuildRequest(model="m", traffic="t", adapters=("a", "n=b"), targets=("sm89",))
    assert request(BuildRequest, wanted, {}) == wanted
    assert request(BuildRequest, wanted, {"strict": True}) == msgspec.structs.replace(wanted, strict=True)


def test_a_request_survives_a_file(tmp_path: Path) -> None:
    wanted = BuildRequest(model="m", budget={"min_cosine": 0.5}, adapters=("a=b",))
    records.save(wanted, tmp_path / "r.json")
    assert records.load(tmp_path / "r.json", BuildRequest) == wanted


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"precison": "int8"}, 'did you mean "precision"'),
        ({"context": "many"}, "context"),
        ({"adapters": "one"}, "adapters"),
        ({"strict": 1}, "strict"),
        ({"budget": {"min_cosin": 0.9}}, 'did you mean "min_cosine"'),
        ({"budget": {"min_cosine": 1.5}}, "min_cosine"),
        ({"model": None}, "model"),
    ],
)
def test_a_mistake_is_named(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        request(BuildRequest, "m", choices)
    assert said in str(caught.value) + caught.value.action


def test_an_export_asks_for_less() -> None:
    with pytest.raises(UsageError, match="profile"):
        pipeline.export("m", profile="auto")
    assert set(ModelRequest.__struct_fields__) < set(BuildRequest.__struct_fields__)
