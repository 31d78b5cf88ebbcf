"""A bundle with plans, loaded as an application does it, where a GPU of its kind is played by the host."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

import compiler
from compiler import bundle, engines
from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.flavors import Flavor
from compiler.engines.tensorrt.runtime import choosing
from compiler.engines.tensorrt.runtime.buffers import Cuda
from compiler.errors import IntegrityError
from compiler.records import Serving, Shapes
from tests import models
from tests.engines.tensorrt import sessions
from tests.engines.tensorrt.fake_cuda import FakeCuda
from tests.engines.tensorrt.fakes import FakeTensorRT
from tests.engines.tensorrt.sessions import PROMPT, STEP, aliases, write_plan

WIDE: Shapes = {"batch": (1, 1, 2), "sequence": (1, 8, 64)}
TEXTS = ["ban bel", "dir dos fan fel gir", "kan"]


@pytest.fixture
def trt(gpu: None, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    cuda = FakeCuda()
    module = FakeTensorRT(cuda)
    monkeypatch.setattr(flavors, "probe", lambda name: Flavor(name, "11.4.0.106", module))  # type: ignore[arg-type]
    monkeypatch.setattr(choosing, "CUDA", "json")
    monkeypatch.setattr(Cuda, "names", cuda)
    return module


def sealed(folder: Path, *, generates: bool) -> Path:
    """A bundle of the small models with a plan for an L4."""
    folder.mkdir()
    model = folder / "model.onnx"
    if generates:
        signature = sessions.decoder(model)
        plan = write_plan(model, signature, [STEP, PROMPT], aliases())
        manifest = models.manifest("decoder", *signature, layout="shared")
        manifest = msgspec.structs.replace(manifest, cache=sessions.cache(), context_length=sessions.CAPACITY)
        (folder / "generation_config.json").write_text('{"eos_token_id": []}')
    else:
        signature = models.encoder(model)
        plan = write_plan(model, signature, [WIDE])
        manifest = models.manifest("encoder", *signature, pooling=models.MEAN)
    models.write_tokenizer(folder)
    bundle.seal(folder, msgspec.structs.replace(manifest, engine="tensorrt", plans=(plan,)))
    return folder


def test_generation(tmp_path: Path, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sealed(tmp_path / "bundle", generates=True)
    found = [compiler.load(folder).generate(TEXTS, max_new_tokens=8, **beams) for beams in ({}, {"beams": 2})]
    assert trt.calls
    trt.calls.clear()
    monkeypatch.setattr(choosing, "_fit", lambda _device, _plans: "no GPU")
    assert [compiler.load(folder).generate(TEXTS, max_new_tokens=8, **beams) for beams in ({}, {"beams": 2})] == found
    assert trt.calls == []


def test_embedding(tmp_path: Path, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sealed(tmp_path / "bundle", generates=False)
    found = compiler.load(folder).embed(TEXTS)
    assert trt.calls
    monkeypatch.setattr(choosing, "_fit", lambda _device, _plans: "no GPU")
    np.testing.assert_allclose(compiler.load(folder).embed(TEXTS), found, atol=1e-6)


def test_what_answers_is_known_before_it_is_opened(tmp_path: Path, trt: FakeTensorRT) -> None:
    manifest = bundle.read(sealed(tmp_path / "bundle", generates=False))
    serving = engines.serving(manifest, manifest.options)
    assert serving == Serving(engine="tensorrt", version="11.4.0.106", reason="the GPU is sm89, and so is the plan")
    assert trt.runtimes == 0


def test_a_changed_plan_is_refused_although_nobody_verified_the_bundle(tmp_path: Path, trt: FakeTensorRT) -> None:
    folder = sealed(tmp_path / "bundle", generates=False)
    plan = folder / "plans" / "sm89.plan"
    plan.write_bytes(plan.read_bytes()[:-1] + b" ")
    with (
        pytest.warns(UserWarning, match="without checking"),
        pytest.raises(IntegrityError, match="not the plan that was built"),
    ):
        compiler.load(folder, verify=False).embed("ban")
    assert trt.runtimes == 0
