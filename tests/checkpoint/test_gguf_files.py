"""Whole GGUF files become checkpoints that do what the files say."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from compiler.checkpoint import Checkpoint, resolve
from compiler.checkpoint.gguf_original import open_gguf
from compiler.errors import CheckpointError

WORDS = ["<pad>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "to", "on", "too", "<|endoftext|>", "<|eot|>"]
HEADS = 4
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers": "blk",
}


def llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": HEADS}
    config = LlamaConfig(**sizes, vocab_size=len(WORDS), max_position_embeddings=128, initializer_range=0.3, **changes)
    return LlamaForCausalLM(config).eval()


def write(
    path: Path,
    model: LlamaForCausalLM,
    keys: Mapping[str, Any] | None = None,
    extra: Mapping[str, np.ndarray] | None = None,
    *,
    without: str = "",
) -> Path:
    """The model as llama.cpp's converter writes it, with more keys and tensors and without one of them."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, *[1] * (len(WORDS) - 5), 3, 3])
    writer.add_token_merges(["t o", "o n"])  # "too" is a token that no merge makes
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    adders = {bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
    for key, value in {"tokenizer.ggml.pre": "default", **(keys or {})}.items():
        adders[type(value)](key, value)
    for name, tensor in model.state_dict().items():
        array = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:  # llama.cpp turns neighbours, transformers the two halves
            array = array.reshape(HEADS, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        stored = functools.reduce(lambda known, part: known.replace(part, PARTS[part]), PARTS, name)
        if stored != without:
            writer.add_tensor(stored, array.copy())
    for name, array in (extra or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(path: Path) -> Checkpoint:
    return resolve(str(path), cache=path.parent / "cache")


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.arange(3, 27)[None]).logits  # type: ignore[no-any-return]


ROPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "linear": ({"type": "linear", "factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
    "yarn": (
        {"type": "yarn", "factor": 4.0, "original_context_length": 32},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    ),
}


@pytest.mark.parametrize("kind", ROPES)
def test_checkpoint_and_reference_answer_as_the_model_that_was_written(kind: str, tmp_path: Path) -> None:
    scaling, rope = ROPES[kind]
    right = llama(rope_parameters={"rope_type": "default", "rope_theta": 10000.0, **rope})
    path = write(tmp_path / "m.gguf", right, {f"llama.rope.scaling.{name}": each for name, each in scaling.items()})
    made = AutoModelForCausalLM.from_pretrained(read(path).folder)
    torch.testing.assert_close(logits(made), logits(right), rtol=1e-4, atol=1e-4)
    reference = open_gguf(path, AutoModelForCausalLM, torch.float32)
    torch.testing.assert_close(logits(reference), logits(right), rtol=1e-4, atol=1e-4)
    if kind != "plain":
        assert (logits(llama()) - logits(right)).abs().max() > 0.01  # what a dropped key would give


def test_a_tensor_without_a_place_is_refused(tmp_path: Path) -> None:
    bias = np.ones(32, dtype=np.float32)
    path = write(tmp_path / "m.gguf", llama(), extra={"blk.0.attn_q.bias": bias})
    with pytest.raises(CheckpointError, match="not those of the model") as caught:
        read(path)
    assert "blk.0.attn_q.bias" in caught.value.found


def test_a_missing_tensor_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", llama(), without="blk.0.ffn_up.weight")
    with pytest.raises(CheckpointError, match="missing") as caught:
        read(path)
    assert "up_proj" in caught.value.found


def test_a_key_that_nobody_understands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"llama\.attention\.sliding_window"):
        read(write(tmp_path / "m.gguf", llama(), {"llama.attention.sliding_window": 16}))


@pytest.mark.parametrize(
    ("keys", "pieces"),
    [
        ({}, ["to", "o"]),
        ({"add_bos_token": True}, ["<s>", "to", "o"]),
        ({"pre": "llama-bpe"}, ["<s>", "too"]),
        ({"pre": "llama-bpe", "add_bos_token": False}, ["too"]),
        ({"pre": "qwen2"}, ["to", "o"]),
    ],
)
def test_texts_are_split_and_begun_as_llama_cpp_does(keys: dict[str, Any], pieces: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", llama(), {f"tokenizer.ggml.{name}": each for name, each in keys.items()})
    tokenizer = AutoTokenizer.from_pretrained(read(path).folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("too")["input_ids"]) == pieces


def test_every_end_and_every_chat_template_is_kept(tmp_path: Path) -> None:
    keys = {
        "tokenizer.ggml.eot_token_id": WORDS.index("<|eot|>"),
        "tokenizer.chat_template": "usual",
        "tokenizer.chat_template.tool_use": "with tools",
    }
    folder = read(write(tmp_path / "m.gguf", llama(), keys)).folder
    settings = json.loads((folder / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [2, WORDS.index("<|eot|>")]
    template = AutoTokenizer.from_pretrained(folder).chat_template
    assert template == {"default": "usual", "tool_use": "with tools"}


def test_a_conversion_is_made_again_by_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.gguf", llama())
    first = read(path).folder
    assert read(path).folder == first
    monkeypatch.setattr("compiler.cache.fingerprint", lambda *_: "another")
    assert read(path).folder != first
