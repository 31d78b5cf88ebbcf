"""What a folder is taken for that is not what a command takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import bundle, cache, folders
from compiler.errors import CheckpointError, IntegrityError, UsageError
from compiler.stages import optimize
from tests.cli.conftest import Invoke

KINDS = {
    "checkpoint": (("config.json", "model.safetensors"), "a checkpoint", "compile build {}"),
    "shards": (("config.json", "model.safetensors.index.json"), "a checkpoint", "compile build {}"),
    "pickled": (("config.json", "pytorch_model.bin"), "a checkpoint", "compile build {}"),
    "adapter": (("adapter_config.json", "adapter_model.safetensors"), "a PEFT adapter", "--adapter {}"),
    "gguf": (("a.gguf", "readme.md"), "GGUF files: a.gguf", "compile build {}/a.gguf"),
    "portable": ((bundle.EXPORTED, "model.onnx", "config.json"), "a portable model", "compile optimize {}"),
    "lowered": (("optimized.json", "model.onnx"), "`compile optimize` wrote", "`compile build` makes a bundle"),
    "onnx": (("model.onnx", "config.json"), "ONNX files", "the checkpoint"),
    "entry": ((cache.INDEX, "checked.json"), "an entry of the cache", "artifacts"),
    "cache": (("export/", "optimize/", "origins/"), "the cache", "artifacts"),
    "parent": (("b/manifest.sha256", "c/a.gguf", "d/x"), "folders in it are: b (bundle), c (gguf)", "name one"),
    "other": (("notes.txt",), "notes.txt", "name another folder"),
    "empty": ((), "an empty folder", "name another folder"),
}
# Commands on a bundle, with what they need beside it.
COMMANDS = ("inspect", "check", "bench", "run", "report", "compare")


def made(place: Path, names: tuple[str, ...]) -> Path:
    place.mkdir()
    for name in names:
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"")
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_is_no_bundle_is_called_what_it_is(kind: str, tmp_path: Path) -> None:
    names, words, action = KINDS[kind]
    folder = made(tmp_path / "folder", names)
    with pytest.raises(UsageError, match="not a bundle") as caught:
        bundle.read(folder)
    assert words in caught.value.found
    assert action.format(folder) in caught.value.action


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_a_bundle_ends_with_wrong_usage(command: str, invoke: Invoke, tmp_path: Path) -> None:
    folder = made(tmp_path / "folder", ("config.json", "model.safetensors"))
    more = {"compare": [folder], "run": ["a text"]}.get(command, [])
    answer = invoke(command, folder, *more, "--json")
    error = answer.json["error"]
    assert (answer.code, error["exit_code"]) == (2, 2)
    assert error["subject"] == f"{folder}: not a bundle"
    assert error["action"] == f"compile build {folder}"


def test_what_the_cache_keeps_of_a_build_is_no_bundle(certified: Path) -> None:
    (certified / cache.INDEX).write_bytes(b"{}")
    (certified / bundle.CERTIFICATE).unlink()
    with pytest.raises(UsageError, match="not a bundle") as caught:
        bundle.verify(certified)
    assert caught.value.found == "an entry of the cache"


@pytest.mark.parametrize("left", [bundle.DIGEST, bundle.CERTIFICATE])
def test_a_bundle_that_lost_its_manifest_is_a_damaged_one(left: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"manifest\.json: no such file"):
        bundle.read(made(tmp_path / "folder", (left,)))


def test_a_folder_that_is_no_portable_model(invoke: Invoke, tmp_path: Path) -> None:
    folder = made(tmp_path / "folder", (bundle.DIGEST, bundle.MANIFEST))
    error = invoke("optimize", folder, "--json").json["error"]
    assert (error["exit_code"], error["subject"], error["found"]) == (2, f"{folder}: not a portable model", "a bundle")


@pytest.mark.parametrize(
    ("names", "subject", "found"),
    [
        ((bundle.DIGEST, bundle.MANIFEST), "no config.json", "a bundle"),
        (("a.gguf",), "no config.json", "GGUF files: a.gguf"),
        (("b/config.json", "b/model.safetensors"), "no config.json", "folders in it are: b (checkpoint)"),
    ],
)
def test_a_folder_that_is_no_checkpoint(names: tuple[str, ...], subject: str, found: str, tmp_path: Path) -> None:
    from compiler.checkpoint import resolve

    folder = made(tmp_path / "folder", names)
    with pytest.raises(CheckpointError, match=subject) as caught:
        resolve(str(folder), cache=tmp_path / "cache")
    assert caught.value.found == found
    assert caught.value.action == folders.look(folder).action


def test_the_names_that_it_goes_by_are_those_that_are_written() -> None:
    assert {bundle.EXPORTED, optimize.RECORD} == {"exported.json", "optimized.json"}
    assert (cache.INDEX, bundle.DIGEST, bundle.MANIFEST) == ("files.json", "manifest.sha256", "manifest.json")
