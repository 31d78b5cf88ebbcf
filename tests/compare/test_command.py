from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compiler import records
from compiler.bundle import CERTIFICATE
from compiler.machine import detect
from compiler.records import Certificate, Evaluated, Finding, Metric, Placement, System, Unsteady
from compiler.records.comparison import Compared
from tests.cli.conftest import Invoke, certificate
from tests.compare.sides import SAMPLES, measured

Files = tuple[Path, Path]


@pytest.fixture
def certificates(tmp_path: Path) -> Files:
    """Two that differ in nothing but their latency: the candidate takes 20 % longer."""
    paths = (tmp_path / "old.json", tmp_path / "new.json")
    for path, slower in zip(paths, (1.0, 1.2), strict=True):
        samples = tuple(value * slower for value in SAMPLES)
        records.save(passing(measured=measured(samples)), path)
    return paths


def passing(**changes: Any) -> Certificate:
    return msgspec.structs.replace(certificate(), verdict="pass", reasons=(), **changes)


def test_a_broken_gate_exits_9_and_says_why(invoke: Invoke, certificates: Files) -> None:
    answer = invoke("compare", *certificates)
    assert answer.code == 9
    assert "WORSE (gate broken)" in answer.stdout
    assert "cause 1: nothing that is recorded differs\n" in answer.stdout
    assert "verdict: FAIL: latency-increase:first token" in answer.stdout
    assert "1 gate is broken" in answer.stderr
    assert "look at the likeliest cause first" in answer.stderr


def test_json_holds_the_whole_record_and_the_error(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    out = tmp_path / "compared.json"
    answer = invoke("compare", *certificates, "--json", "--out", out)
    assert answer.code == 9
    assert answer.json["error"]["exit_code"] == 9
    assert answer.json["compared"] == json.loads(out.read_text())
    compared = records.load(out, Compared)
    assert compared.reasons == ("latency-increase:first token",)
    verdict = compared.verdicts[0]
    assert (verdict.subject, verdict.word) == ("latency", "worse")
    assert verdict.change == pytest.approx(0.2)


def test_the_result_is_json_and_its_file_says_so(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    answer = invoke("compare", *certificates, "--out", tmp_path / "compared.html")
    assert answer.code == 2
    assert ".json" in answer.stderr
    assert not (tmp_path / "compared.html").exists()


def test_within_the_gates(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    gates = tmp_path / "gates.toml"
    gates.write_text("[latency]\nmax_increase = 0.5\n")
    answer = invoke("compare", *certificates, "--gates", gates, "--json")
    assert answer.code == 0
    assert answer.json["compared"]["verdict"] == "pass"
    assert "error" not in answer.json
    answer = invoke("compare", certificates[1], certificates[0])
    assert answer.code == 0
    assert "better" in answer.stdout
    assert "verdict: pass" in answer.stdout


def test_a_candidate_that_its_own_certificate_fails(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    good, bad = certificates[0], tmp_path / "bad.json"
    records.save(certificate(), bad)
    answer = invoke("compare", good, bad, "--no-latency", "--json")
    assert answer.code == 9
    assert answer.json["compared"]["verdict"] == "fail"
    assert answer.json["compared"]["reasons"] == ["certificate:fail"]
    assert "FAIL (perplexity-ratio)" in answer.json["error"]["action"]
    said = invoke("compare", good, bad, "--no-latency").stdout
    assert "FAILED (gate broken)" in said
    assert "FAIL (perplexity-ratio)" in said
    assert invoke("compare", bad, bad, "--no-latency").code == 9
    answer = invoke("compare", bad, good, "--no-latency")
    assert answer.code == 0
    assert f"note: {bad} is outside its own budget" in answer.stdout
    gates = tmp_path / "gates.toml"
    gates.write_text("[certificate]\nenforce = false\n")
    answer = invoke("compare", good, bad, "--no-latency", "--gates", gates)
    assert answer.code == 0
    assert f"note: {bad} is outside its own budget" in answer.stdout


def test_what_is_compared_can_be_read_back_and_reported(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    """Numbers that JSON does not have would come back as none at all."""
    worse = Finding(name="output.nan", value=3.0, unit="values", samples=9, better="lower", limit=0.0)
    findings = (*certificate().checked.findings, worse)
    checked = msgspec.structs.replace(certificate().checked, findings=findings)
    records.save(passing(checked=checked), certificates[1])
    out = tmp_path / "compared.json"
    answer = invoke("compare", *certificates, "--no-latency", "--out", out)
    assert answer.code == 9
    assert "not within the limit" in answer.stdout
    assert "parity-loss:output.nan" in records.load(out, Compared).reasons
    assert "not within the limit" in invoke("report", certificates[0], out, "--format", "markdown").stdout


def test_mistakes_in_gates_exit_3(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    gates = tmp_path / "gates.toml"
    gates.write_text("[latency]\nmax_incraese = 0.5\n")
    answer = invoke("compare", *certificates, "--gates", gates, "--json")
    assert answer.code == 3
    assert 'did you mean "max_increase"?' in answer.json["error"]["found"]


def test_samples_of_another_machine_are_refused(invoke: Invoke, certificates: Files) -> None:
    other = msgspec.structs.replace(detect(), cpu="Another CPU")
    records.save(passing(measured=measured(machine=other)), certificates[1])
    answer = invoke("compare", *certificates)
    assert answer.code == 2
    assert f"cpu: {detect().cpu} and Another CPU" in answer.stderr
    assert "--no-latency" in answer.stderr
    assert invoke("compare", *certificates, "--no-latency").code == 0


@pytest.mark.parametrize("words", [(), ("one",), ("one", "two", "three"), ("--save-baseline", "x")])
def test_the_number_of_arguments(invoke: Invoke, words: tuple[str, ...]) -> None:
    answer = invoke("compare", *words)
    assert answer.code == 2
    assert "arguments" in answer.stderr


def test_two_tasks_cannot_be_compared(invoke: Invoke, certificates: Files) -> None:
    records.save(msgspec.structs.replace(certificate(), task="fill-mask"), certificates[1])
    answer = invoke("compare", *certificates)
    assert answer.code == 2
    assert "fill-mask and text-generation" in answer.stderr


def evaluation(path: Path, right: int, data: str = "d") -> Path:
    items = tuple(float(index < right) for index in range(1000))
    share = right / 1000
    metric = Metric(
        name="accuracy", value=share, unit="share", better="higher", low=0, high=1, samples=1000, items=items
    )
    system = System(name="bundle", location="bundle", digest="1", metrics=(metric,))
    made = Evaluated(
        task="t", data="test.jsonl", data_digest=data, items=1000, seed=0, systems=(system,), machine=detect(),
        seconds=1.0,
    )  # fmt: skip
    records.save(made, path)
    return path


def test_evaluations_on_the_same_items(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    good, bad = evaluation(tmp_path / "a.json", 900), evaluation(tmp_path / "b.json", 850)
    answer = invoke("compare", *certificates, "--no-latency", "--evaluation", good, bad)
    assert answer.code == 9
    assert "quality-drop:accuracy" in answer.stderr
    assert "McNemar, 50 of 1000 items differ" in answer.stdout
    other = evaluation(tmp_path / "c.json", 900, data="e")
    answer = invoke("compare", *certificates, "--no-latency", "--evaluation", good, other)
    assert answer.code == 2
    assert "different data" in answer.stderr


def test_certificates_answer_nothing(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "a"}\n')
    answer = invoke("compare", *certificates, "--data", data)
    assert answer.code == 2
    assert "only two bundles can answer" in answer.stderr


def test_two_bundles_measured_in_turns_with_their_flipped_answers(
    invoke: Invoke, classifier: Path, changed: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    words = ("storm", "rain", "harbour")
    data.write_text("".join(json.dumps({"review": f"the night left london in a {word} ."}) + "\n" for word in words))
    gates = tmp_path / "gates.toml"
    gates.write_text("[latency]\nmax_increase = 100\n[memory]\nmax_increase = 100\n[parity]\nenforce = false\n")
    options = ("--gates", gates, "--data", data, "--column", "text=review", "--max-rounds", 5)
    answer = invoke("compare", classifier, changed, *options, "--json")
    assert answer.code == 0
    compared = answer.json["compared"]
    assert [len(timing["baseline"]) for timing in compared["timings"]] == [5, 5, 5]
    assert all(timing["baseline"][0] and timing["candidate"][0] for timing in compared["timings"])
    latency = [verdict for verdict in compared["verdicts"] if verdict["subject"] == "latency"]
    assert [verdict["word"] for verdict in latency] == ["same"] * 3
    assert {change["part"] for change in compared["changes"]} >= {"checkpoint", "graph"}
    flips = compared["flips"]
    assert flips["items"] == 3
    assert [flip["item"] for flip in flips["flips"]] == [0]
    assert "london" not in answer.stdout


def test_a_baseline_is_saved_and_compared_with(
    invoke: Invoke, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = invoke("compare", "--save-baseline", "v1", classifier, "--json")
    assert answer.json == {"baseline": "artifacts/baselines/v1.json"}
    answer = invoke("compare", "v1", classifier, "--no-latency", "--json")
    assert answer.code == 0
    assert answer.json["compared"]["changes"] == []
    assert answer.json["compared"]["baseline"]["kind"] == "baseline"
    answer = invoke("compare", "v1", classifier / CERTIFICATE, "--no-latency", "--json")
    assert answer.json["compared"]["changes"] == []  # the certificate does not know what all files take
    answer = invoke("compare", "v1", classifier / CERTIFICATE)
    assert answer.code == 2
    assert "--no-bench" in answer.stderr


def test_what_breaks_a_gate_is_shown_beyond_its_margin(invoke: Invoke, certificates: Files, tmp_path: Path) -> None:
    """The limit was given with eight digits; four would show equal values and a gate that is broken for nothing."""
    for path, value in zip(certificates, (0.99940158, 0.99940152), strict=True):
        near = Finding(name="cosine", value=value, unit="cosine", samples=9, better="higher", limit=0.99940157)
        reasons = () if near.passed else ("cosine",)
        checked = msgspec.structs.replace(certificate().checked, findings=(near,), reasons=reasons)
        records.save(passing(checked=checked), path)
    answer = invoke("compare", *certificates, "--no-latency")
    assert answer.code == 9
    (row,) = [line for line in answer.stdout.splitlines() if line.strip().startswith("parity cosine")]
    assert row.split()[2:4] == ["0.9994016", "0.9994015"]
    assert "share of the limit 0.99940157 used: 0.99998 and 1.0001" in row


def test_disturbed_measurements_are_named(invoke: Invoke, certificates: Files) -> None:
    engine = measured().engine.name
    shaken = (Unsteady(runner=engine, series="first token", spread=0.5, drift=0.0),)
    records.save(passing(measured=measured(unsteady=shaken)), certificates[0])
    records.save(passing(measured=measured()), certificates[1])
    answer = invoke("compare", *certificates)
    assert answer.code == 0
    assert f"note: {certificates[0]}: not steady when it was measured" in answer.stdout
    assert "not enough data: latency first token: measure again while nothing else runs" in answer.stdout
    assert invoke("compare", *certificates, "--json").json["compared"]["undecided"] == ["latency:first token"]


def test_fused_nodes_are_counted_before_and_after(invoke: Invoke, certificates: Files) -> None:
    def placed(**counts: int) -> tuple[Placement, ...]:
        return tuple(
            Placement(operator=name, provider="CPU", precision="float32", count=count) for name, count in counts.items()
        )

    records.save(passing(placement=placed(MultiHeadAttention=14, BiasGelu=12)), certificates[0])
    records.save(passing(placement=placed(MultiHeadAttention=2, BiasGelu=12, Softmax=12)), certificates[1])
    answer = invoke("compare", *certificates, "--no-latency")
    assert answer.code == 9
    (row,) = [
        " ".join(line.split()) for line in answer.stdout.splitlines() if line.strip().startswith("fusions in all")
    ]
    assert row.startswith("fusions in all 26 14 fused nodes +12 fused nodes exact 0 fused nodes")
    assert "came apart: 12 of attention" in row
    assert "fusions:lost" in answer.stderr
