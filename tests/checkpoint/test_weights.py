"""Weight files: what is damaged, outside the folder, quantized, or has no place in the model is refused by name."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from compiler.checkpoint import load_model, resolve
from compiler.checkpoint.reference import Reference
from compiler.errors import CheckpointError

Header = dict[str, Any]
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def decoder(tiny_decoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_decoder, tmp_path / "decoder"))


def rewritten(folder: Path, change: Callable[[Header], Any]) -> None:
    """Change the header of model.safetensors and leave the rest as it is."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    made = change(header)
    written = (made if isinstance(made, bytes) else json.dumps(header).encode()).ljust(size)
    path.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + size :])


def saved(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def pickled(folder: Path, change: Callable[[Tensors], Any] = dict) -> None:
    path = folder / "model.safetensors"
    torch.save(change(load_file(path)), folder / "pytorch_model.bin")
    path.unlink()


def sharded(folder: Path, place: Callable[[str], str] = str) -> Path:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    index: dict[str, str] = {}
    for shard, part in (("model-00001-of-00002", names[::2]), ("model-00002-of-00002", names[1::2])):
        where = place(f"{shard}.safetensors")
        save_file({name: weights[name] for name in part}, folder / where, metadata={"format": "pt"})
        index |= dict.fromkeys(part, where)
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return path


QUERY, KEY = (f"encoder.layer.0.attention.self.{part}.weight" for part in ("query", "key"))
DAMAGED: dict[str, Callable[[Header], Any]] = {
    "overlap": lambda header: header[QUERY].update(data_offsets=header[KEY]["data_offsets"]),
    "swapped": lambda header: header[QUERY].update(data_offsets=header[QUERY]["data_offsets"][::-1]),
    "negative": lambda header: header[QUERY].update(data_offsets=[-4096, header[QUERY]["data_offsets"][1]]),
    "words": lambda header: header[QUERY].update(data_offsets=["0", "4096"]),
    "one": lambda header: header[QUERY].update(data_offsets=[0]),
    "shape": lambda header: header[QUERY].update(shape=[5, 5]),
    "endless": lambda header: header[QUERY].update(shape=[10**400]),
    "type": lambda header: header[QUERY].update(dtype="F31"),
    "hole": lambda header: header.pop(QUERY),
    "list": lambda header: header.update({QUERY: [1]}),
    "deep": lambda _: b"[" * 3000 + b"]" * 3000,
    "number": lambda _: b"5",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_header_is_refused(folder: Path, cache: Path, kind: str) -> None:
    rewritten(folder, DAMAGED[kind])
    with pytest.raises(CheckpointError, match="safetensors"):
        resolve(str(folder), cache=cache)


@pytest.mark.parametrize("where", ["../{}", "/{}", "a/{}", "{}.bin", ".."])
def test_an_index_names_files_of_its_folder_only(folder: Path, cache: Path, where: str) -> None:
    index = sharded(folder)
    content = json.loads(index.read_text())
    content["weight_map"][KEY] = where.format("model-00002-of-00002.safetensors")
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="index names a file outside") as caught:
        resolve(str(folder), cache=cache)
    assert repr(content["weight_map"][KEY]) == caught.value.found


@pytest.mark.parametrize("content", ["{}", "5", '{"weight_map": 5}', '{"weight_map": {"a": 5}}', "{", "[" * 3000])
def test_an_index_that_is_none(folder: Path, cache: Path, content: str) -> None:
    sharded(folder).write_text(content)
    with pytest.raises(CheckpointError, match="index"):
        resolve(str(folder), cache=cache)


def test_shards_are_read_and_change_the_digest(folder: Path, cache: Path) -> None:
    whole = Reference(folder, "feature-extraction")
    feeds = {"input_ids": np.array([[1, 5, 6]]), "attention_mask": np.ones((1, 3), np.int64)}
    expected = whole.run(feeds)["last_hidden_state"]
    sharded(folder)
    found = resolve(str(folder), cache=cache)
    answer = Reference(found.folder, found.task).run(feeds)["last_hidden_state"]
    np.testing.assert_array_equal(answer, expected)
    second = folder / "model-00002-of-00002.safetensors"
    save_file({name: each + 1 for name, each in load_file(second).items()}, second, metadata={"format": "pt"})
    assert resolve(str(folder), cache=cache).source.digest != found.source.digest


def test_a_shard_that_the_index_leaves_out(folder: Path, cache: Path) -> None:
    sharded(folder)
    save_file({"x": torch.zeros(1)}, folder / "model-00003-of-00003.safetensors")
    with pytest.raises(CheckpointError, match="beside the index") as caught:
        resolve(str(folder), cache=cache)
    assert "model-00003-of-00003" in caught.value.found


def test_two_shards_with_one_tensor(folder: Path, cache: Path) -> None:
    sharded(folder)
    path = folder / "model-00001-of-00002.safetensors"
    other = load_file(folder / "model-00002-of-00002.safetensors")
    save_file({**load_file(path), min(other): other[min(other)]}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="in two files"):
        resolve(str(folder), cache=cache)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_weights_that_are_no_floats(folder: Path, cache: Path, dtype: torch.dtype) -> None:
    saved(folder, lambda weights: {**weights, KEY: weights[KEY].to(dtype)})
    with pytest.raises(CheckpointError, match="quantized") as caught:
        resolve(str(folder), cache=cache)
    assert KEY in caught.value.found


INSIDE = "model.layers.0.self_attn.q_proj"
STRANGERS = {
    "bias": {f"{INSIDE}.bias": (32,)},
    "adapter": {f"{INSIDE}.lora_A.default.weight": (4, 32), f"{INSIDE}.lora_B.default.weight": (32, 4)},
    "scale": {f"{INSIDE}.weight_scale": (32,)},
    "layer": {"model.layers.7.mlp.down_proj.weight": (32, 64)},
    "head": {"lm_head.bias": (64,)},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_tensor_that_would_change_answers_is_not_left_out(decoder: Path, kind: str) -> None:
    saved(decoder, lambda weights: {**weights, **{name: torch.ones(shape) for name, shape in STRANGERS[kind].items()}})
    with pytest.raises(CheckpointError, match="no place for") as caught:
        load_model(decoder, "text-generation")
    assert next(iter(STRANGERS[kind])) in caught.value.found


def test_what_changes_no_answer_may_lie_beside_the_weights(decoder: Path) -> None:
    harmless = {
        "score.weight": torch.ones(2, 32),
        "model.layers.0.self_attn.rotary_emb.inv_freq": 10000.0 ** -(torch.arange(4) / 4),
        "model.layers.0.self_attn.bias": torch.ones(1, 1, 8, 8),
        "model.layers.0.self_attn.masked_bias": torch.tensor(-1e4),
    }
    saved(decoder, lambda weights: {**weights, **harmless})
    assert type(load_model(decoder, "text-generation")).__name__ == "LlamaForCausalLM"


def test_a_masked_language_model_gives_vectors(tmp_path: Path) -> None:
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, vocab_size=16)
    transformers.BertForPreTraining(config).save_pretrained(tmp_path)
    for task in ("fill-mask", "feature-extraction", "next-sentence-prediction"):
        load_model(tmp_path, task)


@pytest.mark.parametrize("prefix", ["module.", "model.model.", "_orig_mod."])
def test_pickled_weights_under_other_names_are_refused(decoder: Path, cache: Path, prefix: str) -> None:
    pickled(decoder, lambda weights: {prefix + name: tensor for name, tensor in weights.items()})
    found = resolve(str(decoder), allow_pickle=True, cache=cache)
    with pytest.raises(CheckpointError, match="no trained weights") as caught:
        load_model(found.folder, found.task)
    assert "missing" in caught.value.found
    assert prefix in caught.value.found
    assert "names have other beginnings" in caught.value.action


def test_pickled_weights_of_other_sizes_name_both(decoder: Path, cache: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    pickled(decoder, lambda weights: {**weights, name: torch.zeros(3, 64)})
    found = resolve(str(decoder), allow_pickle=True, cache=cache)
    with pytest.raises(CheckpointError, match="do not belong together") as caught:
        load_model(found.folder, found.task)
    assert str(decoder) in str(caught.value), "not the folder of the cache"
    assert caught.value.found == f"{name} is (3, 64)"
    assert "128, 64" in caught.value.expected


@pytest.mark.parametrize("kind", ["nested", "list", "object", "damaged"])
def test_a_pickle_of_anything_but_tensors_is_refused(decoder: Path, cache: Path, kind: str) -> None:
    made: dict[str, Callable[[Tensors], Any]] = {
        "nested": lambda weights: {"state_dict": weights, "epoch": 3},
        "list": lambda weights: list(weights.values()),
        "object": lambda weights: {"model": Path("/etc/passwd"), **weights},
        "damaged": dict,
    }
    pickled(decoder, made[kind])
    if kind == "damaged":
        (decoder / "pytorch_model.bin").write_bytes(b"\x80\x02garbage")
    with pytest.raises(CheckpointError, match=r"pickle|not the weights"):
        resolve(str(decoder), allow_pickle=True, cache=cache)


def test_pickled_shards_and_tied_tensors_are_converted(decoder: Path, cache: Path) -> None:
    weights = load_file(decoder / "model.safetensors")
    (decoder / "model.safetensors").unlink()
    table = weights["model.embed_tokens.weight"]
    tied = {"model.embed_tokens.weight": table, "model.norm.weight": weights["model.norm.weight"]}
    rest = {name: tensor for name, tensor in weights.items() if name not in tied}
    torch.save({**tied, "twice": table}, decoder / "pytorch_model-1.bin")
    torch.save(rest, decoder / "pytorch_model-2.bin")
    index = {**dict.fromkeys(tied, "pytorch_model-1.bin"), **dict.fromkeys(rest, "pytorch_model-2.bin")}
    (decoder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    found = resolve(str(decoder), allow_pickle=True, cache=cache)
    converted = load_file(found.folder / "model.safetensors")
    assert converted.keys() == {*weights, "twice"}
    assert all(torch.equal(converted[name], tensor) for name, tensor in weights.items())


def test_the_reference_of_pickled_weights_is_the_pickle(decoder: Path, cache: Path) -> None:
    pickled(decoder)
    found = resolve(str(decoder), allow_pickle=True, cache=cache)
    assert found.reference == decoder
    ids = np.array([[1, 5, 9, 2]])
    ones = np.ones_like(ids)
    right = Reference(found.reference, found.task).logits(ids, ones, np.arange(4)[None])
    saved(found.folder, lambda weights: {name: tensor * 0.5 for name, tensor in weights.items()})
    wrong = Reference(found.folder, found.task).logits(ids, ones, np.arange(4)[None])
    again = Reference(found.reference, found.task).logits(ids, ones, np.arange(4)[None])
    np.testing.assert_array_equal(right, again)
    assert np.abs(right - wrong).max() > 0.01, "a mistake in our own conversion shows"


@pytest.mark.parametrize(("factor", "dtype"), [(1.0, torch.float32), (1.0, torch.bfloat16), (0.5, torch.float32)])
def test_stored_rotary_frequencies_are_those_of_the_configuration(
    tiny_decoder: Path, tmp_path: Path, factor: float, dtype: torch.dtype
) -> None:
    """Older versions stored them with the weights; now nothing reads them."""
    folder = Path(shutil.copytree(tiny_decoder, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    for layer in range(2):
        frequencies = factor * 10000.0 ** -(torch.arange(0, 16, 2) / 16)
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = frequencies.to(dtype)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    unread: list[str] = []
    if factor == 1:
        load_model(folder, "text-generation", unread=unread)
        assert unread == [f"model.layers.{layer}.self_attn.rotary_emb.inv_freq" for layer in range(2)]
        config = json.loads((folder / "config.json").read_text())
        rope = {"rope_theta": 10000.0, "rope_type": "linear", "factor": 4.0}
        (folder / "config.json").write_text(json.dumps({**config, "rope_parameters": rope}))
        load_model(folder, "text-generation")  # they were stored without their scale
        for layer in range(2):
            small = 1e7 ** -(torch.arange(0, 16, 2) / 16)
            weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = small.to(torch.float16)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="stored rotary frequencies"):
            load_model(folder, "text-generation")
        (folder / "config.json").write_text(json.dumps({**config, "rope_parameters": {**rope, "rope_theta": 1e7}}))
        load_model(folder, "text-generation")
    else:
        with pytest.raises(CheckpointError, match="stored rotary frequencies"):
            load_model(folder, "text-generation")
