"""`scripts/bench`: a peer that fails costs its own rows, and shows what it printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """The script's modules, with peers and results in a folder of the test's own."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setenv("COMPILER_DEMO_MODELS", str(tmp_path))
    from benchmarks import __main__ as main
    from benchmarks import decoding, encoding, figure, peers, process, settings

    monkeypatch.setattr(peers, "FOLDER", tmp_path / "peers")
    monkeypatch.setattr(peers, "_broken", {})
    monkeypatch.setattr(main, "ROOT", tmp_path)
    monkeypatch.setattr(main, "OUT", tmp_path / "out")
    return SimpleNamespace(
        main=main, decoding=decoding, encoding=encoding, figure=figure, peers=peers, process=process, settings=settings
    )


def fails(printed: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; print({printed!r}, file=sys.stderr); sys.exit(3)"]


def test_a_failed_process_says_what_it_printed(bench: SimpleNamespace) -> None:
    with pytest.raises(bench.process.ProcessError) as caught:
        bench.process.run("the builder", fails("no module of that name"))
    error = caught.value
    assert (error.name, error.why) == ("the builder", "exit code 3")
    assert error.stderr == "no module of that name\n"
    with pytest.raises(bench.process.ProcessError, match=r"no answer after 0\.5 s"):
        bench.process.run("slow", [sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.5)
    with pytest.raises(bench.process.ProcessError, match="cannot be started"):
        bench.process.run("none", [str(ROOT / "none")])
    assert bench.process.run("fine", fails("outside the budget"), accept=(0, 3)) == ""


def test_an_answer_that_is_no_json_is_a_failure(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench.process, "WORKERS", tmp_path)
    (tmp_path / "good.py").write_text("print('noise'); print('{\"seconds\": 1}')")
    (tmp_path / "bad.py").write_text("print('noise')")
    assert bench.process.worker("good") == {"seconds": 1}
    with pytest.raises(bench.process.ProcessError, match="no JSON object\nnoise"):
        bench.process.worker("bad")


def test_ratios_over_a_baseline_are_of_pairs(bench: SimpleNamespace) -> None:
    figure = bench.figure.times_as_long("start", [2.0, 6.0, 9.0], [1.0, 2.0, 3.0], target=2.5)
    assert (figure.value, figure.unit, figure.better) == (3.0, "x", "lower")
    assert (figure.low, figure.high) == (2.5, 3.0)
    assert figure.reached == "no"


def answers(bench: SimpleNamespace, failing: str) -> Any:
    """Workers of which one fails; the others are twice as fast where they are ours."""

    def worker(name: str, **asked: Any) -> dict[str, Any]:
        if name == failing:
            raise bench.process.ProcessError(name, "exit code 1", f"{name} lacks a module\n")
        own = 1.0 if name.startswith("compiled") else 2.0
        shapes = {"x".join(map(str, shape)): [own] for shape in asked.get("shapes", [])}
        return {
            "openvino_encoder": {"latency_ms": dict.fromkeys(bench.encoding.OPENVINO_PRECISIONS, shapes)},
            "bare_session": {"latency_ms": [1.0]},
            "perplexity": {"compiled": [10.0], "reference": [10.0]},
            "genai_decoder": {"tokens_per_second": [1.0], "prefill_ms": [2.0]},
            "compiled_decoder": {"tokens_per_second": [2.0], "prefill_ms": [1.0]},
        }.get(name, {"latency_ms": shapes, "seconds": [own]})

    return worker


def install_all(bench: SimpleNamespace) -> None:
    for peer in (each for part in bench.peers.PEERS.values() for each in part):
        peer.folder.mkdir(parents=True)
        (peer.folder / "installed").write_text("\n".join([*peer.packages, bench.peers.TRIED]))


@pytest.fixture
def inputs(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the workers would be given, and nothing behind it."""
    install_all(bench)
    monkeypatch.setattr(bench.peers, "genai_int4", lambda checkpoint: checkpoint)
    monkeypatch.setattr(bench.encoding, "load", lambda *_: SimpleNamespace(model="model.onnx"))
    for name in ("prompt", "windows", "write_sentences"):
        monkeypatch.setattr(bench.encoding.texts, name, lambda *_: [])


def encode(bench: SimpleNamespace, tmp_path: Path) -> dict[str, Any]:
    rows = bench.encoding.rows(tmp_path, tmp_path, tmp_path, tmp_path, bench.settings.QUICK)
    return {row.name: row for row in rows}


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(
    ("failing", "lost"),
    [("none", 0), ("openvino_encoder", 6), ("sentence_transformers_embed", 1), ("bare_session", 1)],
)
def test_a_failed_peer_costs_its_rows_of_the_encoder(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: str, lost: int
) -> None:
    monkeypatch.setattr(bench.encoding, "worker", answers(bench, failing))
    rows = encode(bench, tmp_path)
    failed = [row for row in rows.values() if isinstance(row, bench.figure.Failure)]
    assert (len(rows), len(failed)) == (10, lost)
    assert all(row.stderr == f"{failing} lacks a module\n" for row in failed)
    assert rows["MiniLM int8 1x32, against torch float32"].value == 2.0


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(("failing", "lost"), [("none", 0), ("genai_decoder", 2), ("perplexity", 1)])
def test_a_failed_peer_costs_its_rows_of_the_decoder(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: str, lost: int
) -> None:
    monkeypatch.setattr(bench.decoding, "worker", answers(bench, failing))
    rows = list(bench.decoding.rows(tmp_path, tmp_path, bench.settings.QUICK))
    assert [isinstance(row, bench.figure.Failure) for row in rows].count(True) == lost
    assert [row.name for row in rows] == [bench.decoding.DECODE, bench.decoding.PREFILL, bench.decoding.PERPLEXITY]


def test_an_environment_that_fails_is_shown_and_fails_its_rows(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """onnxruntime-genai installs, but its builder does not start; OpenVINO is tried and works."""

    def run(name: str, *_: Any, **__: Any) -> str:
        if "builder" in name:
            raise bench.process.ProcessError(name, "exit code 1", "No module named 'onnx_ir'\n")
        return "{}"

    monkeypatch.setattr(bench.peers, "run", run)
    monkeypatch.setattr(bench.peers, "worker", lambda *_, **__: {})
    for peer in (bench.peers.GENAI, bench.peers.OPENVINO):
        peer.folder.mkdir(parents=True)
    monkeypatch.setitem(bench.peers.PEERS, "encode", (bench.peers.OPENVINO,))
    bench.peers.install(("decode", "encode"), tmp_path)
    assert "No module named 'onnx_ir'" in capsys.readouterr().err
    assert bench.peers.wanted(bench.peers.GENAI)
    assert not bench.peers.GENAI.installed
    with pytest.raises(bench.process.ProcessError, match="onnx_ir"):
        bench.peers.require(bench.peers.GENAI)
    assert bench.peers.OPENVINO.installed
    assert bench.peers.require(bench.peers.OPENVINO) == bench.peers.OPENVINO.python
    assert not bench.peers.wanted(bench.peers.SENTENCE_TRANSFORMERS)


def test_an_environment_of_other_versions_or_untried_is_not_installed(bench: SimpleNamespace) -> None:
    install_all(bench)
    stamp = bench.peers.GENAI.folder / "installed"
    assert bench.peers.GENAI.installed
    for text in ("\n".join(bench.peers.GENAI.packages), "onnxruntime-genai==0.1.0\ntried"):
        stamp.write_text(text)
        assert not bench.peers.GENAI.installed


def test_only_the_parts_asked_for_run_and_a_failure_ends_with_one(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    error = bench.process.ProcessError("the peer", "exit code 1", "it lacks a module\n")
    good = bench.figure.measured("a good row", [1.0], "s")

    def decode(_: Any) -> Iterator[Any]:
        yield good
        raise error

    monkeypatch.setattr(bench.main, "PARTS", {"start": lambda _: pytest.fail("not asked for"), "decode": decode})
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "decode"])
    assert bench.main.main() == 1
    out = capsys.readouterr().out
    assert "a good row" in out
    assert "the peer printed:\nit lacks a module" in out
    (raw,) = (tmp_path / "out").iterdir()
    document = json.loads(raw.read_text())
    assert [row["name"] for row in document["figures"]] == ["a good row"]
    assert [(row["name"], row["stderr"]) for row in document["failures"]] == [("decode", "it lacks a module\n")]
