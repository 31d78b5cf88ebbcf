from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from msgspec.structs import replace

import compiler
from compiler import bundle, machine
from compiler.errors import InputError, IntegrityError, UsageError
from compiler.runtime import Model, UnverifiedWarning, load
from compiler.runtime.elsewhere import ElsewhereWarning
from tests import models as tiny


@pytest.fixture
def folder(encoder_folder: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return Path(shutil.copytree(encoder_folder, tmp_path / "copy"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_package_loads_lazily() -> None:
    assert compiler.load is load
    assert {"build", "load", "__version__"} == set(compiler.__all__) == set(dir(compiler))
    with pytest.raises(AttributeError, match="nothing"):
        compiler.nothing  # noqa: B018


def test_run_gives_all_outputs_by_name(encoder: Model) -> None:
    tokens = np.array([[1, 7, 2]])
    outputs = encoder.run({"input_ids": tokens, "attention_mask": tokens * 0 + 1, "token_type_ids": tokens * 0})
    assert outputs.keys() == {"last_hidden_state"}
    assert outputs["last_hidden_state"].shape == (1, 3, 32)


def test_run_checks_before_the_engine_does(encoder: Model) -> None:
    tokens = np.array([[1, 7, 2]], np.int32)
    with pytest.raises(InputError, match=r"int32\n.*int64"):
        encoder.run({"input_ids": tokens, "attention_mask": tokens, "token_type_ids": tokens})


def test_a_flipped_byte_a_missing_and_an_extra_file_are_refused(folder: Path) -> None:
    flip(folder / "model.onnx")
    (folder / "tokenizer_config.json").unlink()
    (folder / "more.txt").write_text("x")
    with pytest.raises(IntegrityError, match=r"changed: model.onnx; missing: tokenizer_config.json; added: more.txt"):
        load(folder)


def test_verification_can_be_skipped_and_says_so(folder: Path) -> None:
    (folder / "more.txt").write_text("x")
    with pytest.warns(UnverifiedWarning, match="without checking"):
        model = load(folder, verify=False)
    with model:
        assert model.embed(["ban"]).shape == (1, 32)


def test_threads_override_what_the_bundle_says(encoder_folder: Path) -> None:
    with load(encoder_folder, threads=min(2, machine.logical_cores())) as model:
        assert model.embed(["ban"]).shape == (1, 32)


def test_no_more_threads_than_cores_and_that_is_said(tmp_path: Path) -> None:
    """1,000 threads take a thousand stacks, and where there is no room for them ONNX Runtime waits for ever."""
    folder = tiny.encoder_bundle(tmp_path / "many")
    manifest = bundle.read(folder)
    bundle.write_manifest(folder, replace(manifest, options=replace(manifest.options, threads=1000)))
    cores = machine.logical_cores()
    before = psutil.Process().num_threads()
    with pytest.warns(ElsewhereWarning, match=f"1000 threads, {cores} are used"):
        model = load(folder)
    with model:
        assert psutil.Process().num_threads() - before <= cores
        assert model.embed(["ban"]).shape == (1, 32)


def test_a_closed_model_says_so(encoder_folder: Path) -> None:
    with load(encoder_folder) as model:
        pass
    for call in (lambda: model.embed(["ban"]), lambda: model.run({}), lambda: model.generate("ban")):
        with pytest.raises(UsageError, match="closed"):
            call()
    model.close()


def test_a_bundle_without_certificate_says_so(encoder: Model) -> None:
    with pytest.raises(IntegrityError, match=r"certificate\.json"):
        encoder.certificate  # noqa: B018


def test_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a bundle"):
        load(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        load(tmp_path / "nowhere")


def test_an_application_needs_nothing_of_the_build_side(encoder_folder: Path, decoder_folder: Path) -> None:
    code = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "onnx", "onnx_ir", "onnxscript"):
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
import compiler
with compiler.load({str(encoder_folder)!r}) as model:
    print(model.embed(["ban", "del fir"]).shape)
with compiler.load({str(decoder_folder)!r}) as model:
    print(len(model.generate([{{"role": "user", "content": "ban"}}], max_new_tokens=3).split()))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("(2, 32)\n3\n", "", 0)


@pytest.mark.parametrize("threads", [-1, 10**6, True, 1.0, "2"])
def test_a_number_of_threads_that_makes_no_sense(encoder_folder: Path, threads: object) -> None:
    with pytest.raises(
        InputError, match=rf"threads is out of range\n.*\n.*0 to {machine.logical_cores()}, the cores here"
    ):
        load(encoder_folder, threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("adapter", [[1], 5, {}, b"x"])
def test_an_adapter_is_named_by_a_text(encoder: Model, adapter: object) -> None:
    with pytest.raises(InputError, match="adapter"):
        encoder.embed(["ban"], adapter=adapter)  # type: ignore[arg-type]
