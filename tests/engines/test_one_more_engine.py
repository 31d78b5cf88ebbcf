"""An engine is one file and one row: with them it builds, checks, measures, compares, inspects and reports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, command, environment

PROFILE = """
name = "numpy"
description = "The evaluator of ONNX"
engine = "evaluator"
requires = { architecture = "x86_64" }

[encoder]
precision = "float32"
passes = ["fold-constants"]
precisions = { float32 = [], int8-weights = [{ name = "quantize-weights", bits = 8, rounding = "nearest" }] }
budget = { min_cosine = 0.97 }

[decoder]
precision = "float32"
passes = []
precisions = { float32 = [] }
budget = { max_kl_divergence = 0.1 }
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this package with one more engine: its file, and its row."""
    root = tmp_path_factory.mktemp("package")
    for folder in ("compiler", "profiles"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    engines = root / "compiler" / "engines"
    shutil.copyfile(Path(__file__).with_name("evaluator.py"), engines / "evaluator.py")
    table = (engines / "__init__.py").read_text("utf-8")
    row = '    "evaluator": "compiler.engines.evaluator",\n'
    changed, count = re.subn(r"^(ENGINES: .* = \{\n)", rf"\1{row}", table, flags=re.MULTILINE)
    assert count == 1
    (engines / "__init__.py").write_text(changed, "utf-8")
    return root


def test_one_more_engine(package: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    profile, bundle = tmp_path / "numpy.toml", tmp_path / "bundle"
    profile.write_text(PROFILE, "utf-8")
    environment_ = {**environment(tmp_path / "cache"), "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}

    def run(*words: object) -> str:
        done = subprocess.run(
            command(*words), env=environment_, capture_output=True, text=True, check=False, cwd=package
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    built = json.loads(run("build", tiny_encoder, "--profile", profile, "--out", bundle, "--json"))
    assert built["verdict"] == "pass"
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    assert manifest["engine"] == "evaluator"
    certificate = json.loads((bundle / "certificate.json").read_text("utf-8"))
    assert certificate["checked"]["serving"]["engine"] == "evaluator"
    assert {row["provider"] for row in certificate["placement"]} == {"numpy"}
    assert certificate["measured"]["engine"]["name"] == "evaluator"
    assert json.loads(run("inspect", bundle, "--json"))
    layers = json.loads(run("check", bundle, "--bisect", "--json"))["diverged"]["layers"]
    assert {layer["precision"] for layer in layers} == {"float32"}
    assert json.loads(run("run", bundle, "ban", "--json"))
    assert "evaluator" in json.loads(run("doctor", "--json"))["engines"]
    compared = json.loads(run("compare", bundle, bundle, "--no-latency", "--json"))["compared"]
    assert compared["verdict"] == "pass"
    run("report", bundle, "--out", tmp_path / "page.html")
    assert "evaluator" in (tmp_path / "page.html").read_text("utf-8")
