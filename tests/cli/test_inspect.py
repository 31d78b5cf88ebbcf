from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from compiler import records
from compiler.bundle import CERTIFICATE, DIGEST, MANIFEST, read, seal
from compiler.cli import summary
from compiler.cli.inspect import _vectors
from compiler.errors import IntegrityError
from compiler.machine import kind
from compiler.measure.steadiness import unsteady
from compiler.records import Certificate, Dense, Normalize, Pooling


def test_inspect_for_a_person(invoke, certified: Path) -> None:
    answer = invoke("inspect", certified)
    assert answer.code == 0
    for text in ("FAIL", "perplexity-ratio", "OUTSIDE", "within", "MatMulNBits", "int4 weights", "1.5 kB", "1,234,567"):
        assert text in answer.stdout
    assert "left out: fuse-silu: changes answers" in answer.stdout
    assert "4.00 (4.00 to 4.00)" in answer.stdout
    assert kind(records.load(certified / CERTIFICATE, Certificate).machine) in answer.stdout
    assert "not read, 2 that no answer depends on: config.json: n_ctx, tf_model.h5\n" in answer.stdout
    assert answer.stdout.count("files: all 2 as sealed\n") == 1
    assert answer.stderr == ""


def test_noise_of_the_measurement_is_said(invoke, certified: Path) -> None:
    assert "NOT STEADY" not in invoke("inspect", certified).stdout
    before = records.load(certified / CERTIFICATE, Certificate)
    assert before.measured is not None
    slow = replace(before.measured.engine.series[0], samples=(1.0, 1.0, 1.0, 3.0, 3.0, 3.0))
    engine = replace(before.measured.engine, series=(slow,))
    noisy = replace(before.measured, engine=engine, unsteady=unsteady((engine,)))
    records.save(replace(before, measured=noisy), certified / CERTIFICATE)
    seal(certified, read(certified))
    said = "NOT STEADY, no figures to rely on: first token of onnxruntime-cpu (spread 100%, second half +200%)"
    assert invoke("inspect", certified).stdout.count(said) == 2  # with the verdict, and with the figures
    found = invoke("inspect", certified, "--json").json["certificate"]["measured"]["unsteady"]
    assert found == [{"runner": "onnxruntime-cpu", "series": "first token", "spread": 1.0, "drift": 2.0}]


def test_inspect_as_json_is_the_records(invoke, certified: Path) -> None:
    found = invoke("inspect", certified, "--json").json
    assert found["bundle"] == str(certified)
    assert found["verified"] is True
    assert found["manifest"] == json.loads((certified / MANIFEST).read_text())
    assert found["certificate"] == json.loads((certified / CERTIFICATE).read_text())


def damage(path: Path) -> None:
    """One bit of the middle byte."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.onnx", CERTIFICATE, MANIFEST, DIGEST])
@pytest.mark.parametrize("command", [("inspect",), ("report",), ("compare", "--no-latency"), ("bench",), ("check",)])
def test_every_command_refuses_a_bundle_with_one_flipped_bit(
    invoke, certified: Path, name: str, command: tuple[str, ...]
) -> None:
    damage(certified / name)
    sides = [certified, certified] if "compare" in command else [certified]
    answer = invoke(*command, *sides, "--json")
    assert answer.code == IntegrityError.exit_code
    error = answer.json["error"]
    assert any(name in text for text in (error["subject"], error["found"], error["expected"]))
    assert "pass" not in answer.stdout


def test_a_file_that_was_added_or_is_missing(invoke, certified: Path) -> None:
    (certified / "more.bin").touch()
    (certified / "model.onnx").unlink()
    answer = invoke("inspect", certified, "--json")
    assert answer.code == IntegrityError.exit_code
    assert answer.json["error"]["found"] == "missing: model.onnx; added: more.bin"


def test_a_damaged_bundle_can_be_looked_at_and_that_says_so(invoke, certified: Path) -> None:
    damage(certified / "model.onnx")
    answer = invoke("inspect", certified, "--no-verify")
    assert answer.code == 0
    assert "files: 2 NOT compared with their digests\n" in answer.stdout
    assert invoke("inspect", certified, "--no-verify", "--json").json["verified"] is False
    damage(certified / CERTIFICATE)  # what it says itself is always compared
    assert invoke("inspect", certified, "--no-verify").code == IntegrityError.exit_code


def test_a_certificate_in_a_bundle_is_the_one_that_was_sealed(invoke, certified: Path, tmp_path: Path) -> None:
    path = certified / CERTIFICATE
    path.write_text(path.read_text().replace('"fail"', '"pass"'))
    for words in (("report", path), ("compare", "--no-latency", path, path)):
        answer = invoke(*words, "--json")
        assert answer.code == IntegrityError.exit_code
        assert CERTIFICATE in answer.json["error"]["subject"]
    alone = tmp_path / "kept.json"
    alone.write_bytes(path.read_bytes())
    assert invoke("report", alone, "--json").code == 0


def test_a_folder_that_is_no_bundle(invoke, tmp_path: Path) -> None:
    answer = invoke("inspect", tmp_path, "--json")
    assert answer.code == 2
    assert answer.json["error"]["found"] == "an empty folder"


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
