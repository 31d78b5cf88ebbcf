from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from click.testing import CliRunner

from compiler import bundle as bundles
from compiler import profile, records
from compiler.cli import main
from compiler.records import (
    Certificate,
    Checked,
    EngineOptions,
    Finding,
    Manifest,
    Measured,
    PassRun,
    Placement,
    Runner,
    Series,
    Source,
)


class Answer(NamedTuple):
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """All of stdout, which must be one JSON object and nothing else."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value


Invoke = Callable[..., Answer]


@pytest.fixture
def invoke() -> Invoke:
    """Run the command line in this process."""

    def run(*words: object, stdin: str | None = None) -> Answer:
        result = CliRunner().invoke(main, [str(word) for word in words], input=stdin)
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def certified(tmp_path: Path) -> Path:
    """A bundle with records and no model: twice as fast as PyTorch, one pass left out, outside its budget."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"x" * 1500)
    records.save(certificate(), folder / bundles.CERTIFICATE)
    bundles.seal(folder, manifest())
    return folder


@pytest.fixture
def passed(certified: Path) -> Path:
    """The same bundle with verdict "pass"."""
    answer = msgspec.structs.replace(certificate(), verdict="pass", reasons=())
    records.save(answer, certified / bundles.CERTIFICATE)
    bundles.seal(certified, manifest())
    return certified


def manifest() -> Manifest:
    return Manifest(
        source=SOURCE,
        task="text-generation",
        kind="decoder",
        architecture="TinyForCausalLM",
        model_type="tiny",
        profile="cpu-x86-avx2",
        precision="int4-weights",
        engine="onnxruntime-cpu",
        engine_version="1.0",
        model="model.onnx",
        options=EngineOptions(),
        inputs=(),
        outputs=(),
        context_length=64,
        vocabulary=100,
        parameters=1234567,
        versions={},
        files={},
    )


def checked() -> Checked:
    return Checked(
        precision="int4-weights",
        findings=(
            Finding(name="perplexity ratio", value=1.5, unit="ratio", samples=9, better="lower", limit=1.03),
            Finding(name="top-1 agreement", value=0.9, unit="share", samples=9, better="higher", limit=0.8),
        ),
        reasons=("perplexity-ratio",),
        noise=1e-6,
        seconds=1.0,
    )


def measured() -> Measured:
    return Measured(
        engine=runner("onnxruntime-cpu", latency=5.0, rate=40.0),
        reference=runner("torch", latency=10.0, rate=10.0),
        machine=profile.detect(),
        seconds=1.0,
    )


def runner(name: str, latency: float, rate: float) -> Runner:
    return Runner(
        name=name,
        version="1",
        threads=1,
        series=(
            Series(name="first token", unit="ms", better="lower", samples=(latency, latency * 9, latency)),
            Series(name="decode", unit="tokens/s", better="higher", samples=(rate,)),
        ),
        load_seconds=0.1,
        peak_memory_bytes=1 << 20,
        disk_bytes=1 << 20,
    )


def certificate() -> Certificate:
    return Certificate(
        verdict="fail",
        reasons=("perplexity-ratio",),
        source=SOURCE,
        task="text-generation",
        profile="cpu-x86-avx2",
        precision="int4-weights",
        budget={"max_perplexity_ratio": 1.03},
        created="2026-01-01T00:00:00Z",
        passes=(
            PassRun(
                name="fuse-silu",
                options={},
                modified=True,
                kept=False,
                nodes_before=9,
                nodes_after=9,
                seconds=0.1,
                reason="changes answers",
            ),
        ),
        placement=(Placement(operator="MatMulNBits", provider="CPU", precision="int4 weights", count=7),),
        checked=checked(),
        measured=measured(),
        machine=profile.detect(),
        versions={},
        unread=("config.json: n_ctx", "tf_model.h5"),
    )


SOURCE = Source(kind="gguf", name="model.gguf", digest="0" * 64)
