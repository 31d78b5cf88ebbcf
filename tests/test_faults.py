"""Bad input and faults: each has a clear message and its exit code, and leaves nothing half-written behind."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler import bundle as bundles
from compiler.errors import ContextError, InputError, IntegrityError
from tests.conftest import CONTEXT, Compile, command, environment

FLOAT = ("--precision", "float32", "--no-bench")


@pytest.fixture(scope="module")
def decoder(compile_: Compile, tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny decoder."""
    out = tmp_path_factory.mktemp("bundles") / "decoder"
    result = compile_("build", tiny_decoder, "--out", out, *FLOAT)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def encoder(compile_: Compile, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny encoder."""
    out = tmp_path_factory.mktemp("bundles") / "encoder"
    result = compile_("build", tiny_encoder, "--out", out, *FLOAT)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """A private copy of a folder, to be damaged."""

    def copied(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "copy"))

    return copied


def leftovers(*folders: Path) -> list[Path]:
    """Half-written folders and locks anywhere below."""
    return [path for folder in folders for path in folder.rglob(".*") if path.suffix in {".partial", ".old", ".lock"}]


# --- what is handed in ----------------------------------------------------------------------------------------------


def test_all_mistakes_of_a_profile_are_reported_at_once(compile_: Compile, tiny_encoder: Path, tmp_path: Path) -> None:
    text = compile_("profiles", "show", "cpu-x86-avx2").stdout
    mistakes = (
        text.replace('engine = "', 'engine = "x-', 1).replace("threads = 0", 'threads = "all"', 1) + "\n[extra]\n"
    )
    profile = tmp_path / "mine.toml"
    profile.write_text(mistakes if "threads = 0" in text else f'threads = "all"\n{mistakes}')
    result = compile_("build", tiny_encoder, "--profile", profile, "--out", tmp_path / "out")
    assert result.returncode == 3
    assert "3 mistakes" in result.stderr
    for place in ("engine", "threads", "extra"):
        assert place in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_without_weights(compile_: Compile, tiny_encoder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_encoder, model, ignore=shutil.ignore_patterns("*.safetensors"))
    result = compile_("build", model, "--out", tmp_path / "out")
    assert result.returncode == 4
    assert str(model) in result.stderr
    assert "safetensors" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_gguf_cut_in_half(compile_: Compile, cache: Path, tmp_path: Path) -> None:
    import gguf

    model = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(model, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_tensor("token_embd.weight", np.zeros((256, 64), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    result = compile_("build", model, "--out", tmp_path / "out")
    assert result.returncode == 4
    assert f"{len(whole) // 2} bytes" in result.stderr
    assert "download" in result.stderr
    assert not (tmp_path / "out").exists()
    assert leftovers(tmp_path, cache) == []


def test_weights_that_are_not_numbers(compile_: Compile, copy: Callable[[Path], Path], tiny_encoder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = copy(tiny_encoder)
    weights = load_file(model / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    weights[name][3, 5] = np.nan
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    result = compile_("build", model, "--out", model.parent / "out")
    assert result.returncode == 4
    assert name in result.stderr
    assert "1 NaN" in result.stderr
    assert not (model.parent / "out").exists()


def test_pickled_weights_need_consent(compile_: Compile, copy: Callable[[Path], Path], tiny_encoder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    model = copy(tiny_encoder)
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    out = model.parent / "out"
    refused = compile_("export", model, "--out", out)
    assert refused.returncode == 4
    assert "--allow-pickle" in refused.stderr
    assert not out.exists()
    allowed = compile_("export", model, "--out", out, "--allow-pickle")
    assert allowed.returncode == 0, allowed.stderr
    assert (out / "model.onnx").is_file()


# --- what a loaded model is asked -----------------------------------------------------------------------------------


def test_a_prompt_longer_than_the_context(compile_: Compile, decoder: Path) -> None:
    prompt = "x" * (CONTEXT + 1)
    with compiler.load(decoder) as model, pytest.raises(ContextError, match=str(CONTEXT)):
        model.generate(prompt)
    result = compile_("run", decoder, "--prompt", prompt)
    assert result.returncode == 2
    assert str(CONTEXT) in result.stderr


def test_an_empty_prompt(compile_: Compile, decoder: Path) -> None:
    with compiler.load(decoder) as model, pytest.raises(InputError, match="empty"):
        model.generate("")
    result = compile_("run", decoder, "--prompt", "")
    assert result.returncode == 2
    assert "empty" in result.stderr


def test_no_texts_at_all(encoder: Path) -> None:
    with compiler.load(encoder) as model:
        assert model.embed([]).shape == (0, 64)


def test_a_wrong_dtype_is_not_cast(encoder: Path) -> None:
    with compiler.load(encoder) as model:
        right = {tensor.name: np.ones((2, 8), dtype=tensor.dtype) for tensor in model.manifest.inputs}
        model.run(right)
        with pytest.raises(InputError, match="input_ids") as caught:
            model.run({**right, "input_ids": np.ones((2, 8), dtype=np.float32)})
    assert "float32" in caught.value.found
    assert "int64" in caught.value.expected


# --- what happens to a bundle ---------------------------------------------------------------------------------------


def test_a_flipped_byte_in_the_engine_file(compile_: Compile, copy: Callable[[Path], Path], encoder: Path) -> None:
    folder = copy(encoder)
    engine = folder / bundles.read(folder).model
    content = bytearray(engine.read_bytes())
    content[len(content) // 2] ^= 1
    engine.write_bytes(content)
    with pytest.raises(IntegrityError, match=engine.name):
        compiler.load(folder)
    result = compile_("run", folder, "one", "two")
    assert result.returncode == 11
    assert engine.name in result.stderr


def test_a_missing_engine_wheel(encoder: Path, cache: Path) -> None:
    blocked = "import sys; sys.modules['onnxruntime'] = None; "
    words = command("run", encoder, "one", "two")
    words[2] = blocked + words[2]
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment(cache))
    assert result.returncode == 10
    assert "pip install" in result.stderr


# --- what happens to a build ----------------------------------------------------------------------------------------


def test_a_full_disk_in_the_middle_of_a_build(compile_: Compile, tiny_decoder: Path, tmp_path: Path) -> None:
    """The kernel refuses to let any file grow beyond 100 kB, as a full disk refuses; the weights are larger."""
    limit = 100_000
    result = compile_(
        "build", tiny_decoder, "--out", tmp_path / "out", *FLOAT,
        env=environment(tmp_path / "cache"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert result.returncode == 12, result.stderr
    assert "cannot write" in result.stderr
    assert "set TRANSFORMER_COMPILER_CACHE to another folder" in result.stderr
    assert not (tmp_path / "out").exists()
    assert leftovers(tmp_path) == []
    again = compile_("build", tiny_decoder, "--out", tmp_path / "out", *FLOAT, env=environment(tmp_path / "cache"))
    assert again.returncode == 0, again.stderr
    bundles.verify(tmp_path / "out")


@pytest.mark.parametrize("variable", ["TRANSFORMER_COMPILER_CACHE", "HOME"])
def test_a_cache_that_cannot_be_made(variable: str, compile_: Compile, tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {name: value for name, value in environment(tmp_path / "cache").items() if name != "XDG_CACHE_HOME"}
    if variable == "HOME":
        env.pop("TRANSFORMER_COMPILER_CACHE")
    result = compile_(
        "build", tiny_encoder, "--out", tmp_path / "out", *FLOAT, env=env | {variable: str(tmp_path / "file" / "below")}
    )
    assert result.returncode == 12, result.stderr
    assert "the cache cannot be used" in result.stderr
    assert f"Not a directory: {tmp_path / 'file'}" in result.stderr
    assert "set TRANSFORMER_COMPILER_CACHE to another folder" in result.stderr
    assert "free some space" not in result.stderr


@pytest.mark.parametrize("inherited", ["", "trap '' INT TERM; "])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_export(how: signal.Signals, inherited: str, tiny_decoder: Path, tmp_path: Path) -> None:
    """A job that a shell starts in the background inherits that SIGINT is ignored."""
    process = subprocess.Popen(
        ["sh", "-c", f'{inherited}exec "$@"', "sh", *command("build", tiny_decoder, "--out", tmp_path / "out", *FLOAT)],
        env=environment(tmp_path / "cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any(tmp_path.rglob("*.partial")) or process.poll() is not None)
    process.send_signal(how)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "interrupted" in messages
    assert not (tmp_path / "out").exists()
    assert leftovers(tmp_path) == []


def test_two_builds_of_the_same_thing_at_once(tiny_decoder: Path, tmp_path: Path) -> None:
    words = command("build", tiny_decoder, "--out", tmp_path / "out", *FLOAT)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    builds = [subprocess.Popen(words, env=environment(tmp_path / "cache"), **pipes) for _ in range(2)]
    for build in builds:
        _, messages = build.communicate(timeout=300)
        assert build.returncode == 0, messages
    bundles.verify(tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_a_folder_that_is_not_ours_is_never_replaced(compile_: Compile, tiny_decoder: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    result = compile_("build", tiny_decoder, "--out", tmp_path, *FLOAT)
    assert result.returncode == 2
    assert str(tmp_path) in result.stderr
    assert (tmp_path / "diary.txt").read_text() == "mine"


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
