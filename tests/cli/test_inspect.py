from __future__ import annotations

import json
from pathlib import Path

from msgspec.structs import replace

from compiler import records
from compiler.bundle import CERTIFICATE, MANIFEST
from compiler.cli import summary
from compiler.cli.inspect import _vectors
from compiler.machine import kind
from compiler.records import Certificate, Dense, Normalize, Pooling


def test_inspect_for_a_person(invoke, certified: Path) -> None:
    answer = invoke("inspect", certified)
    assert answer.code == 0
    for text in ("FAIL", "perplexity-ratio", "OUTSIDE", "within", "MatMulNBits", "int4 weights", "1.5 kB", "1,234,567"):
        assert text in answer.stdout
    assert "left out: fuse-silu: changes answers" in answer.stdout
    assert "4.00 (4.00 to 4.00)" in answer.stdout
    assert kind(records.load(certified / CERTIFICATE, Certificate).machine) in answer.stdout
    assert answer.stderr == ""


def test_inspect_as_json_is_the_records(invoke, certified: Path) -> None:
    found = invoke("inspect", certified, "--json").json
    assert found["bundle"] == str(certified)
    assert found["manifest"] == json.loads((certified / MANIFEST).read_text())
    assert found["certificate"] == json.loads((certified / CERTIFICATE).read_text())


def test_a_folder_that_is_no_bundle(invoke, tmp_path: Path) -> None:
    answer = invoke("inspect", tmp_path, "--json")
    assert answer.code == 11
    assert answer.json["error"]["kind"] == "IntegrityError"


def test_a_bundle_that_does_not_exist_is_usage(invoke, tmp_path: Path) -> None:
    assert invoke("inspect", tmp_path / "nowhere").code == 2


def test_speedups_compare_medians_in_the_better_direction(certified: Path) -> None:
    _, certificate = summary.read(certified)
    ratios = summary.speedups(certificate.measured)
    assert {name: ratio.value for name, ratio in ratios.items()} == {"first token": 2.0, "decode": 4.0}
    assert summary.speedups(None) == {}


def test_the_way_to_a_vector_and_the_prompts_are_shown() -> None:
    dense = Dense(inputs=8, outputs=4, bias=True, activation="Tanh")
    prompts = {"query": "q: ", "passage": ""}
    pooling = Pooling(modes=("cls", "mean"), modules=(dense, Normalize()), include_prompt=False, prompts=prompts)
    assert _vectors(replace(pooling, default_prompt="query")) == [
        ("vectors", "cls + mean without the prompt, Dense 4 Tanh, Normalize"),
        ("prompt query", "'q: ' by default"),
        ("prompt passage", "''"),
    ]
