"""config.json: what cannot be compiled is refused by name, before anything large is read."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import transformers

from compiler.checkpoint import load_model, resolve
from compiler.errors import CheckpointError
from tests import peft_adapters
from tests.checkpoint.edits import edit

METHODS: dict[str, dict[str, Any]] = {
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "awq": {"quantization_config": {"quant_method": "awq", "bits": 4}},
    "bitsandbytes": {"quantization_config": {"load_in_8bit": True}},
    "fp8": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    "mxfp4": {"text_config": {"quantization_config": {"quant_method": "mxfp4"}}},
    "pack-quantized": {"compression_config": {"format": "pack-quantized"}},
    "unknown": {"quantization_config": "int3"},
}


@pytest.mark.parametrize("method", METHODS)
def test_quantized_weights_are_refused_by_their_method(folder: Path, cache: Path, method: str) -> None:
    edit(folder / "config.json", **METHODS[method])
    with pytest.raises(CheckpointError, match=f"quantized with .*{method}") as caught:
        resolve(str(folder), cache=cache)
    assert "original" in caught.value.action


@pytest.mark.parametrize(
    ("name", "content", "method"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128}, "gptq"),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "FP8"),
        ("quant_config.json", {"w_bit": 4}, "4"),
    ],
)
def test_settings_beside_the_configuration_count(
    folder: Path, cache: Path, name: str, content: dict[str, Any], method: str
) -> None:
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=f"quantized with {method}") as caught:
        resolve(str(folder), cache=cache)
    assert name in caught.value.found


NONE = {
    "kind": '{"model_type": []}',
    "classes": '{"model_type": "bert", "architectures": 5}',
    "class": '{"architectures": [{}], "model_type": "bert"}',
    "empty": "{}",
    "number": "5",
    "list": "[]",
    "cut": "{",
    "deep": f'{{"model_type": "bert", "x": {"[" * 100_000 + "]" * 100_000}}}',
}


@pytest.mark.parametrize("content", NONE.values(), ids=NONE)
def test_what_is_no_configuration(folder: Path, cache: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="config"):
        resolve(str(folder), cache=cache)


@pytest.mark.parametrize(
    "change", [{"num_hidden_layers": 10**6}, {"hidden_size": 10**9}, {"intermediate_size": 10**9},
               {"vocab_size": 10**12}, {"text_config": {"num_layers": 10**6}}, {"num_labels": 10**12},
               {"max_position_embeddings": 10**12}, {"num_attention_heads": 10**9}]
)  # fmt: skip
def test_sizes_that_the_weights_do_not_have_are_refused_at_once(
    folder: Path, cache: Path, change: dict[str, Any]
) -> None:
    edit(folder / "config.json", **change)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match="do not belong together") as caught:
        resolve(str(folder), cache=cache)
    assert time.monotonic() - started < 2
    assert "at most" in caught.value.expected


def test_weights_under_a_name_of_their_own(folder: Path, cache: Path) -> None:
    edit(folder / "config.json", transformers_weights="other.safetensors")
    with pytest.raises(CheckpointError, match="transformers_weights"):
        resolve(str(folder), cache=cache)


def test_the_folder_of_an_adapter_is_no_model(tmp_path: Path, cache: Path) -> None:
    base = peft_adapters.llama(tmp_path / "base")
    folder = peft_adapters.adapter(base, tmp_path / "lora", peft_adapters.lora("llama"))
    with pytest.raises(CheckpointError, match="an adapter, not a model") as caught:
        resolve(str(folder), cache=cache)
    assert caught.value.action == f"compile build {base} --adapter {folder}"
    for path in folder.iterdir():
        shutil.copy(path, base / path.name)
    with pytest.raises(CheckpointError, match="a model and an adapter in one folder"):
        resolve(str(base), cache=cache)


def test_the_encoder_of_an_encoder_decoder_alone_is_named(tmp_path: Path) -> None:
    config = transformers.T5Config(
        d_model=16, num_layers=1, num_heads=2, d_kv=8, d_ff=16, vocab_size=16, decoder_start_token_id=0
    )
    transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="encoder of an encoder-decoder alone") as caught:
        load_model(tmp_path, "feature-extraction")
    assert "T5EncoderModel" in caught.value.found
