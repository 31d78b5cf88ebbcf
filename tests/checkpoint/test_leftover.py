"""What nothing reads and no answer depends on is listed by name, whichever file it is in."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler.checkpoint import Checkpoint, leftover, load_model, load_tokenizer, resolve
from compiler.checkpoint.adapter import MERGED, VIRTUAL, find
from compiler.checkpoint.join import attach
from compiler.checkpoint.leftover import LONGEST, MOST, bounded
from compiler.checkpoint.tuner import settings
from compiler.errors import CheckpointError
from tests import peft_adapters, understanding
from tests.checkpoint import test_gguf_files as ggufs
from tests.checkpoint.edits import edit


def found(checkpoint: Checkpoint) -> list[str]:
    """Entries and files, as an export lists them."""
    tensors: list[str] = []
    load_model(checkpoint.folder, checkpoint.task, unread=tensors)
    entries = leftover.entries(checkpoint, load_tokenizer(checkpoint.folder), tensors)
    return [*entries, *leftover.files(checkpoint)]


def files(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def test_nothing_is_left_of_what_the_library_saves(tiny_encoder: Path, tiny_decoder: Path, cache: Path) -> None:
    assert found(resolve(str(tiny_encoder), cache=cache)) == []
    assert found(resolve(str(tiny_decoder), cache=cache)) == ["config.json: pretraining_tp"]


def test_every_file_of_an_encoder(tmp_path: Path, cache: Path) -> None:
    folder = understanding.checkpoint(tmp_path / "model", "BertForMaskedLM")
    edit(folder / "config.json", gradient_checkpointing=False, num_beams=4)
    edit(
        folder / "tokenizer_config.json", never_split=None, do_basic_tokenize=True, model_max_length=64, my_token="<x>"
    )
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.position_ids"] = torch.arange(4)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    files(folder, ["generation_config.json", "training_args.bin", "tf_model.h5", "onnx/model.onnx", "modules.json"])
    files(folder, ["README.md", "LICENSE", "logo.png", ".gitattributes", "vocab.txt"])
    (folder / "modules.json").write_text("[]")
    assert found(resolve(str(folder), task="fill-mask", cache=cache)) == [
        "config.json: gradient_checkpointing",
        "config.json: num_beams",
        "tokenizer_config.json: never_split",
        "tokenizer_config.json: do_basic_tokenize",
        "model.safetensors: bert.embeddings.position_ids",
        "generation_config.json",
        "modules.json",
        "onnx/",
        "tf_model.h5",
        "training_args.bin",
    ]
    (folder / "modules.json").unlink()
    (folder / "onnx" / "model.onnx").unlink()
    vectors = found(resolve(str(folder), task="feature-extraction", cache=cache))
    assert "model.safetensors: cls.predictions.transform.dense.weight" in vectors


def test_settings_of_generation(tiny_decoder: Path, tmp_path: Path, cache: Path) -> None:
    folder = Path(shutil.copytree(tiny_decoder, tmp_path / "model"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    edit(folder / "config.json", repetition_penalty=1.5)
    assert found(resolve(str(folder), cache=cache)) == [
        "config.json: pretraining_tp"
    ]  # in effect, as transformers has it
    edit(folder / "generation_config.json", eos_token_id=0, chat_format="chatml", max_window_size=6144)
    assert found(resolve(str(folder), cache=cache)) == [
        "config.json: pretraining_tp",
        "config.json: repetition_penalty",
        "generation_config.json: chat_format",
        "generation_config.json: max_window_size",
    ]


def test_tensors_of_a_pickle(tmp_path: Path, cache: Path) -> None:
    folder = peft_adapters.gpt2(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for layer in range(2):
        weights[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        weights[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 8, 8)
    torch.save(weights, folder / "pytorch_model.bin")
    files(folder, ["rust_model.ot"])
    names = found(resolve(str(folder), allow_pickle=True, cache=cache))
    assert [name for name in names if not name.startswith("config.json")] == [
        "pytorch_model.bin: transformer.h.*.attn.bias",
        "pytorch_model.bin: transformer.h.*.attn.masked_bias",
        "rust_model.ot",
    ]


def test_notes_of_a_gguf_file(tmp_path: Path, cache: Path) -> None:
    path = ggufs.write(tmp_path / "m.gguf", ggufs.llama(), {"llama.rope.scaling.finetuned": True, "mine.note": "x"})
    assert found(resolve(str(path), cache=cache)) == ["m.gguf: llama.rope.scaling.finetuned", "m.gguf: mine.note"]


@pytest.mark.parametrize("name", ["", "x="])
def test_settings_and_files_of_an_adapter(name: str, tmp_path: Path, cache: Path) -> None:
    base = peft_adapters.llama(tmp_path / "base")
    folder = peft_adapters.adapter(base, tmp_path / "lora", peft_adapters.lora("llama"))
    edit(folder / "adapter_config.json", unsloth_version="2025.1", use_a_new_thing=False, peft_version="0.99")
    files(folder, ["optimizer.pt", "README.md"])
    checkpoint = attach(resolve(str(base), cache=cache), find([f"{name}{folder}"]), None, cache)
    names = found(checkpoint)
    place = name.rstrip("=") or "adapter"
    assert {f"{place}/adapter_config.json: use_a_new_thing", f"{place}/adapter_config.json: unsloth_version"} < set(
        names
    )
    assert ("x/optimizer.pt" in names) == bool(name)
    edit(folder / "adapter_config.json", use_a_new_thing=True)
    with pytest.raises(CheckpointError, match=r'"use_a_new_thing" of adapter_config.json would be left out'):
        find([str(folder)])


@pytest.mark.parametrize("tuner", sorted(MERGED | VIRTUAL))
def test_settings_of_tuners_are_those_that_peft_has(tuner: str) -> None:
    import peft

    fields = {field.name for field in dataclasses.fields(peft.PEFT_TYPE_TO_CONFIG_MAPPING[tuner])}
    assert fields == settings(tuner) & fields
    assert "use_a_new_thing" not in settings(tuner)


def test_the_list_is_bounded() -> None:
    names = bounded(f"{each}\n\x1b" + "x" * 1000 for each in range(MOST + 50))
    assert len(names) == MOST
    assert names[-1] == "and 51 more"
    assert all(len(name) <= LONGEST and name.isprintable() for name in names)
    assert bounded(["a"] * MOST) == ("a",) * MOST
