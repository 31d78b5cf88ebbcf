"""The commands that run stages, with the pipeline behind them replaced: options in, results and exit codes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compiler import pipeline, records
from compiler.bundle import CERTIFICATE
from compiler.cli.options import FIELDS
from compiler.errors import BudgetError, CheckpointError
from compiler.progress import Event, Progress
from compiler.records import Certificate, Exported, Optimized, Tensor
from compiler.request import BuildRequest, ModelRequest


class Stage:
    """Stands for a function of the pipeline: keeps its arguments, prints like a library, gives `result`."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.words: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *words: Any, progress: Progress, **options: Any) -> Any:
        self.words, self.options = words, options
        print("a library prints")
        progress(Event("export", "traced"))
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch):
    def put(name: str, result: Any) -> Stage:
        stage = Stage(result)
        monkeypatch.setattr(pipeline, name, stage)
        return stage

    return put


def test_build_hands_every_option_on(invoke, replace, passed: Path) -> None:
    stage = replace("build", passed)
    words = ["--profile", "p.toml", "--task", "causal-lm", "--precision", "int4-weights", "--revision", "v1"]
    words += ["--budget", "max_perplexity_ratio=1.02", "--budget", "min_top1_agreement=0.9", "--out", "o"]
    words += ["--adapter", "a=one", "--adapter", "two", "--adapter-base", "b"]
    words += ["--target", "sm89", "--target", "sm120", "--target", "sm89", "--context", "512"]
    assert invoke("build", "m", *words, "--strict", "--allow-pickle", "--no-bench").code == 0
    wanted = BuildRequest(
        model="m",
        profile="p.toml",
        task="text-generation",
        precision="int4-weights",
        revision="v1",
        adapters=("a=one", "two"),
        adapter_base="b",
        context=512,
        budget={"max_perplexity_ratio": 1.02, "min_top1_agreement": 0.9},
        targets=("sm89", "sm120"),
        strict=True,
        allow_pickle=True,
        bench=False,
    )
    assert (stage.words, stage.options) == ((wanted,), {"out": Path("o")})
    invoke("build", "m")
    assert (stage.words, stage.options) == ((BuildRequest(model="m"),), {"out": None})


def test_every_field_of_a_request_has_its_option() -> None:
    assert set(FIELDS) == set(BuildRequest.__struct_fields__)


def test_build_ends_with_a_table(invoke, replace, passed: Path) -> None:
    replace("build", passed)
    answer = invoke("build", "m")
    assert answer.code == 0
    for text in ("verdict", "pass", "int4-weights", "times PyTorch", "2.00 (", "4.00 (", str(passed)):
        assert text in answer.stdout
    assert "a library prints" not in answer.stdout + answer.stderr
    assert answer.stderr.startswith("export ")


def test_build_as_json(invoke, replace, passed: Path) -> None:
    replace("build", passed)
    found = invoke("build", "m", "--json").json
    assert found["bundle"] == str(passed)
    assert found["verdict"] == "pass"
    assert found["speedup"]["decode"] == {"value": 4.0, "low": 4.0, "high": 4.0}
    assert found["size_bytes"] > 1500
    assert "error" not in found


def test_a_build_outside_its_budget_shows_its_bundle_and_exits_8(invoke, replace, certified: Path) -> None:
    error = BudgetError("outside", found="1.5")
    error.bundle = certified
    replace("build", error)
    answer = invoke("build", "m")
    assert answer.code == 8
    assert "FAIL" in answer.stdout
    assert str(certified) in answer.stdout
    assert "error: outside" in answer.stderr
    answer = invoke("build", "m", "--json")
    assert answer.code == 8
    assert answer.json["verdict"] == "fail"
    assert answer.json["error"] == {
        "kind": "BudgetError",
        "exit_code": 8,
        "subject": "outside",
        "found": "1.5",
        "expected": "",
        "action": "",
    }


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (CheckpointError("no weights", action="look"), 4, "CheckpointError"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (RuntimeError("boom"), 1, "RuntimeError"),
        (OSError(28, "No space left on device"), 12, "StorageError"),
    ],
)
def test_errors_of_a_build(invoke, replace, error: BaseException, code: int, kind: str) -> None:
    replace("build", error)
    answer = invoke("build", "m", "--json")
    assert answer.code == code
    assert answer.json["error"]["kind"] == kind
    assert set(answer.json) == {"error"}
    answer = invoke("build", "m")
    assert answer.code == code
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert "stopped: traced" in answer.stderr


def test_an_unknown_task_gets_a_suggestion(invoke) -> None:
    answer = invoke("build", "m", "--task", "text-generatio")
    assert answer.code == 2
    assert 'did you mean "text-generation"?' in answer.stderr


def test_an_unknown_target_gets_a_suggestion(invoke) -> None:
    answer = invoke("build", "m", "--target", "sm88")
    assert answer.code == 2
    assert 'unknown target "sm88"; did you mean "sm8' in answer.stderr
    assert "sm90 (H100, H200)" in answer.stderr


def test_targets_need_a_profile_that_builds_plans(invoke) -> None:
    answer = invoke("build", "no/such/model", "--profile", "cpu-x86-avx2", "--target", "sm89", "--json")
    assert answer.code == 2
    assert "takes no targets" in answer.json["error"]["subject"]


def test_bad_traffic_is_named_before_anything_is_loaded(invoke, tmp_path: Path) -> None:
    path = tmp_path / "lengths.jsonl"
    path.write_text("37\n-1\n")
    answer = invoke("build", "no/such/model", "--profile", "nvidia-l4", "--traffic", path, "--json")
    assert answer.code == 2
    assert answer.json["error"]["subject"] == f"{path}, line 2: not a request"


def test_build_shows_what_traffic_became(invoke, replace, passed: Path, tmp_path: Path) -> None:
    path = tmp_path / "lengths.jsonl"
    path.write_text("7\n" * 9 + '{"tokens": 60}\n{"tokens": 99}\n')
    stage = replace("build", passed)
    words = ("build", "m", "--profile", "nvidia-l4", "--traffic", path)
    answer = invoke(*words)
    assert stage.words[0].traffic == str(path)
    assert "traffic: 2 buckets of at most 7, 64 tokens" in answer.stdout
    assert "1 of 11 requests are cut to the 64 tokens" in answer.stdout
    found = invoke(*words, "--json").json["traffic"]
    assert (found["lengths"], found["requests"], found["cut"]) == ([7, 64], 11, 1)
    assert found["shapes"][0]["sequence"] == [1, 7, 16]
    assert found["padding"][0] > 0.5


def test_an_unknown_profile_is_3_before_anything_is_loaded(invoke) -> None:
    answer = invoke("build", "no/such/model", "--profile", "cpu-x86-avx", "--json")
    assert answer.code == 3
    assert answer.json["error"]["action"] == 'did you mean "cpu-x86-avx2"?'


def test_export(invoke, replace, tmp_path: Path) -> None:
    exported = _exported(tmp_path)
    stage = replace("export", tmp_path)
    words = ["--task", "text-generation", "--adapter", "lora", "--out", tmp_path / "o", "--allow-pickle"]
    answer = invoke("export", "m", *words)
    assert answer.code == 0
    assert "1,000" in answer.stdout
    wanted = ModelRequest(model="m", task="text-generation", adapters=("lora",), allow_pickle=True)
    assert (stage.words, stage.options) == ((wanted,), {"out": tmp_path / "o"})
    found = invoke("export", "m", "--json").json
    assert found == {"folder": str(tmp_path), "exported": json.loads(records.encode(exported))}


def test_optimize(invoke, replace, tmp_path: Path, certified: Path) -> None:
    runs = records.load(certified / CERTIFICATE, Certificate).passes
    optimized = Optimized(
        exported=_exported(tmp_path),
        profile="p",
        precision="float32",
        model="model.onnx",
        inputs=(),
        outputs=(),
        passes=(*runs, msgspec.structs.replace(runs[0], name="fuse-gelu", modified=False, kept=True)),
        op_counts={},
        seconds=1.0,
    )
    records.save(optimized, tmp_path / "optimized.json")
    stage = replace("optimize", tmp_path)
    answer = invoke("optimize", tmp_path, "--profile", "p", "--precision", "float32", "--strict")
    assert answer.code == 0
    assert "left out: changes answers" in answer.stdout
    assert "nothing to do" in answer.stdout
    assert stage.options == {"profile": "p", "precision": "float32", "out": None, "strict": True}
    assert invoke("optimize", tmp_path, "--json").json["optimized"]["profile"] == "p"


def test_check_exits_8_outside_the_budget(invoke, replace, certified: Path) -> None:
    checked = records.load(certified / CERTIFICATE, Certificate).checked
    stage = replace("check", checked)
    answer = invoke("check", certified, "--reference", "m", "--budget", "min_cosine=0.9")
    assert answer.code == 8
    assert "verdict: FAIL: perplexity-ratio" in answer.stdout
    assert stage.options == {"reference": "m", "adapters": (), "budget": {"min_cosine": 0.9}, "seal": False}
    answer = invoke("check", certified, "--json")
    assert (answer.code, answer.json["verdict"]) == (8, "fail")
    replace("check", msgspec.structs.replace(checked, reasons=()))
    answer = invoke("check", certified, "--json")
    assert (answer.code, answer.json["verdict"]) == (0, "pass")


def test_bench(invoke, replace, certified: Path) -> None:
    measured = records.load(certified / CERTIFICATE, Certificate).measured
    stage = replace("bench", measured)
    answer = invoke("bench", certified, "--reference", "m", "--adapter", "x=p")
    assert answer.code == 0
    assert "tokens/s" in answer.stdout
    assert stage.options == {"reference": "m", "adapters": ("x=p",)}
    assert invoke("bench", certified, "--json").json["speedup"]["first token"]["value"] == 2.0


def _exported(folder: Path) -> Exported:
    ids = Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence"))
    exported = Exported(
        source=records.Source(kind="folder", name="m", digest="0"),
        task="text-generation",
        kind="decoder",
        architecture="Tiny",
        model_type="tiny",
        model="model.onnx",
        opset=23,
        inputs=(ids,),
        outputs=(),
        parameters=1000,
        context_length=64,
        vocabulary=10,
        seconds=1.0,
        versions={},
    )
    records.save(exported, folder / "exported.json")
    return exported
