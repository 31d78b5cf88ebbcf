"""What a user can hand in, and what is refused before anything large is loaded."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler.checkpoint import adapter, load_model, resolve
from compiler.checkpoint.length import context_length
from compiler.errors import CheckpointError, StorageError, UsageError
from tests.checkpoint.edits import edit


def test_a_folder_is_found_with_its_task(folder: Path, cache: Path) -> None:
    found = resolve(str(folder), cache=cache)
    assert (found.task, found.source.kind, found.architecture) == ("feature-extraction", "folder", "BertModel")
    again = resolve(str(folder), cache=cache)
    assert again == found


def test_a_changed_weight_is_another_source(folder: Path, cache: Path) -> None:
    before = resolve(str(folder), cache=cache).source.digest
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    weights[name][0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert resolve(str(folder), cache=cache).source.digest != before


def test_synonyms_of_tasks_are_understood(folder: Path, cache: Path) -> None:
    assert resolve(str(folder), task="sentence-similarity", cache=cache).task == "feature-extraction"
    with pytest.raises(UsageError, match="unknown"):
        resolve(str(folder), task="text-generatoin", cache=cache)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"])
def test_links_that_lead_nowhere_are_named(folder: Path, cache: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    for target, reason in (("../blobs/0a1b", "nothing is there"), (path.name, "links in a circle")):
        path.symlink_to(target)
        with pytest.raises(CheckpointError, match="a link that leads nowhere") as caught:
            resolve(str(folder), cache=cache)
        assert caught.value.subject.startswith(str(path))
        assert caught.value.found == f"it links to {target}: {reason}"
        path.unlink()


def test_a_link_in_place_of_a_model_or_an_adapter(tmp_path: Path, cache: Path) -> None:
    link = tmp_path / "model"
    link.symlink_to("moved-away")
    for look in (lambda: resolve(str(link), cache=cache), lambda: adapter.find([str(link)])):
        with pytest.raises(CheckpointError, match="a link that leads nowhere"):
            look()


def test_links_to_what_is_there_are_followed(folder: Path, cache: Path, tmp_path: Path) -> None:
    for path in list(folder.iterdir()):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    (folder / ".gitattributes").symlink_to("nowhere")
    assert resolve(str(folder), cache=cache).task == "feature-extraction"


def test_no_weights(folder: Path, cache: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights") as caught:
        resolve(str(folder), cache=cache)
    assert "config.json" in caught.value.found


def test_no_tokenizer(folder: Path, cache: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="no tokenizer"):
        resolve(str(folder), cache=cache)


def test_an_unknown_architecture_names_the_nearest(folder: Path, cache: Path) -> None:
    edit(folder / "config.json", model_type="berts", auto_map={"AutoModel": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit('this must never run')")
    with pytest.raises(CheckpointError, match="never run") as caught:
        resolve(str(folder), cache=cache)
    assert "bert" in caught.value.action


@pytest.mark.parametrize("keep", [0.5, 0.0001])
def test_a_cut_safetensors_file(folder: Path, cache: Path, keep: float) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(CheckpointError, match=r"cut short|not a complete"):
        resolve(str(folder), cache=cache)


@pytest.mark.parametrize("header", [b"{}" * 40, b'{"x": {"data_offsets": 5}}', b"\xff\xfe{}"])
def test_a_forged_safetensors_header(folder: Path, cache: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=r"damaged|longer"):
        resolve(str(folder), cache=cache)


def test_pickle_weights_need_a_word_from_the_user(folder: Path, cache: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickle") as caught:
        resolve(str(folder), cache=cache)
    assert "--allow-pickle" in caught.value.action
    found = resolve(str(folder), allow_pickle=True, cache=cache)
    assert found.folder != folder
    resaved = load_file(found.folder / "model.safetensors")
    assert all(torch.equal(resaved[name], tensor) for name, tensor in weights.items())
    assert resolve(str(folder), cache=cache).folder == found.folder, "converted once, no pickle is read again"


def test_weights_that_are_not_finite_are_named(folder: Path, cache: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][3, 2] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = resolve(str(folder), cache=cache)
    with pytest.raises(CheckpointError, match="not finite") as caught:
        load_model(found.folder, found.task)
    assert "1 NaN or Inf in embeddings.word_embeddings.weight" in caught.value.found


def test_a_head_without_trained_weights_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained weights") as caught:
        load_model(folder, "text-classification")
    assert "classifier" in caught.value.found
    assert caught.value.action.startswith("choose another task with --task: feature-extraction (no weights for ")
    assert "text-classification" not in caught.value.action


def test_a_task_without_a_head_lists_those_there_are(tmp_path: Path) -> None:
    from transformers import T5Config

    T5Config(d_model=8, num_layers=1, vocab_size=16).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="no head") as caught:
        load_model(tmp_path, "fill-mask")
    assert "fill-mask" not in caught.value.expected


def test_a_missing_shard(folder: Path, cache: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="1 weight shard") as caught:
        resolve(str(folder), cache=cache)
    assert "model-00002" in caught.value.found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("./nowhere/to/be/found", "nothing called nowhere in"),
        ("/nowhere", "nothing called nowhere in /"),
        ("../nowhere", "nothing called nowhere in"),
        ("~/nowhere", "nothing called nowhere in"),
        ("models/tiny/", "nothing called tiny in"),
        ("tiny.gguf", "nothing called tiny.gguf in"),
        ("models/tiny.gguf", "nothing called tiny.gguf in"),
        ("a file/below", "a file is a file"),
        ("no such model!", "nothing called no such model! in"),
    ],
)
def test_a_path_that_does_not_exist(
    name: str, found: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", never)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "tinny.gguf").mkdir(parents=True)
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no such file") as caught:
        resolve(name, cache=cache)
    assert caught.value.found.startswith(found)
    near = 'did you mean "models/tinny.gguf"?'
    assert caught.value.action == (near if name == "models/tiny.gguf" else "check the path")


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "a" * 5000])
def test_a_path_at_which_the_system_cannot_look(name: str, cache: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be looked at"):
        resolve(name, cache=cache)
    with pytest.raises(CheckpointError, match="cannot be looked at"):
        adapter.find([name])


def test_a_hub_id_beside_a_folder_of_its_first_name_is_still_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some-one" / "some-models").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="hub cache") as caught:
        resolve("some-one/some-model", cache=cache)
    assert caught.value.action == 'did you mean "some-one/some-models"?'


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT])
def test_the_hubs_own_cache_that_cannot_be_written(number: int, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(number, os.strerror(number), "/hub/blobs")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(StorageError, match="/hub/blobs") as caught:
        resolve("some-one/some-model", cache=cache)
    assert caught.value.found == os.strerror(number)
    assert "HF_HOME" in caught.value.action


def test_offline_mode_is_honoured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="hub cache") as caught:
        resolve("some-one/some-model", cache=cache)
    assert "HF_HUB_OFFLINE" in caught.value.action


def test_a_revision_is_for_the_hub_only(folder: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--revision"):
        resolve(str(folder), revision="main", cache=cache)
    (tmp_path / "model.gguf").write_bytes(b"not looked at")
    with pytest.raises(UsageError, match="a local file"):
        resolve(str(tmp_path / "model.gguf"), revision="main", cache=cache)


def test_a_file_that_is_no_checkpoint(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "model.txt").write_text("hello")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        resolve(str(tmp_path / "model.txt"), cache=cache)
    (tmp_path / "model.gguf").write_bytes(b"GGML" + bytes(64))
    with pytest.raises(CheckpointError, match="not a GGUF"):
        resolve(str(tmp_path / "model.gguf"), cache=cache)
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes([3, 0, 0, 0]) + b"\xff" * 40)
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        resolve(str(tmp_path / "model.gguf"), cache=cache)


def test_positions_that_padding_reserves_do_not_count(folder: Path) -> None:
    from transformers import MPNetConfig, MPNetModel, RobertaConfig, RobertaModel

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 9}
    for model in (RobertaModel(RobertaConfig(**size, max_position_embeddings=514, pad_token_id=1)),
                  MPNetModel(MPNetConfig(**size, max_position_embeddings=514))):  # fmt: skip
        assert context_length(folder, model) == 512
