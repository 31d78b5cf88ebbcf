"""What lies in a checkpoint's folder: configuration, weights, their index, modules of sentence encoders, adapters."""

from __future__ import annotations

import io
import json
import struct
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis.strategies import SearchStrategy
from safetensors.numpy import save

from compiler.checkpoint import resolve, sentence
from compiler.checkpoint.adapter import find
from compiler.checkpoint.declared import configuration, require_plausible
from compiler.checkpoint.load import load_tokenizer
from compiler.checkpoint.pickled import convert
from compiler.checkpoint.weights import check_safetensors, require_floats, weight_files
from compiler.errors import CheckpointError
from tests import models as tiny
from tests.fuzz.mutate import Dice, changed, cut, json_files, made, to_json, zip_files
from tests.fuzz.reader import Reader, at

CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "vocab_size": 54,
    "max_position_embeddings": 64,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "id2label": {"0": "no", "1": "yes"},
    "label2id": {"no": 0, "yes": 1},
    "torch_dtype": "float32",
    "pad_token_id": 0,
}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 54,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "rope_theta": 10000.0,
    "eos_token_id": [1, 2],
    "tie_word_embeddings": False,
}
WEIGHTS = save({"embeddings.word_embeddings.weight": np.ones((6, 4), np.float32), "bias": np.zeros(4, np.float16)})
INDEX = {
    "metadata": {"total_size": 104},
    "weight_map": {"a.weight": "model-00001-of-00001.safetensors", "b": "model-00001-of-00001.safetensors"},
}
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": 64,
    "pad_token": "<pad>",
    "bos_token": {"__type": "AddedToken", "content": "<bos>", "lstrip": False, "special": True},
    "added_tokens_decoder": {"0": {"content": "<pad>", "special": True, "lstrip": False}},
    "additional_special_tokens": ["<user>"],
    "padding_side": "right",
}
MODULES = [
    {"idx": index, "name": str(index), "path": f"{index}_{kind}" if index else "", "type": f"{package}.{kind}"}
    for package in ("sentence_transformers.models",)
    for index, kind in enumerate(("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize"))
]
ENCODER: dict[str, Any] = {
    "modules.json": MODULES,
    "config_sentence_transformers.json": {
        "__version__": {"sentence_transformers": "5.0.0"},
        "model_type": "SentenceTransformer",
        "prompts": {"query": "query: ", "document": ""},
        "default_prompt_name": "query",
        "similarity_fn_name": "cosine",
        "truncate_dim": 2,
    },
    "sentence_bert_config.json": {
        "max_seq_length": 32,
        "do_lower_case": True,
        "model_args": {"torch_dtype": "float32"},
        "tokenizer_args": {"model_max_length": 16},
    },
    "1_Pooling/config.json": {
        "word_embedding_dimension": 4,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "include_prompt": True,
    },
    "2_Dense/config.json": {
        "in_features": 4,
        "out_features": 3,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    },
    "3_LayerNorm/config.json": {"dimension": 3},
}
DENSE = save({"linear.weight": np.ones((3, 4), np.float32), "linear.bias": np.zeros(3, np.float32)})
NORM = save({"norm.weight": np.ones(3, np.float32), "norm.bias": np.zeros(3, np.float32)})
RANKER: dict[str, Any] = {
    "modules.json": MODULES[:1],
    "config_sentence_transformers.json": {
        "model_type": "CrossEncoder",
        "activation_fn": "torch.nn.modules.activation.Sigmoid",
        "prompts": {"query": "", "document": ""},
    },
    "sentence_bert_config.json": {
        "transformer_task": "sequence-classification",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
        "module_output_name": "scores",
    },
}
LORA = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "some/base",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj"],
    "rank_pattern": {"q_proj": 2},
}
LORA_WEIGHTS = save({"base_model.model.q.lora_A.weight": np.ones((2, 4), np.float32)})


def safetensors(*valid: bytes) -> SearchStrategy[bytes]:
    """These files with values of the header changed and its length right, mostly; sometimes with bytes changed."""

    def build(dice: Dice) -> bytes:
        content = dice.one(valid)
        size = struct.unpack("<Q", content[:8])[0]
        header = to_json(changed(json.loads(content[8 : 8 + size]), dice))
        return cut(struct.pack("<Q", len(header)) + header + content[8 + size :], dice, max(0, dice.below(6) - 3))

    return made(build)


def several(files: Mapping[str, Any]) -> SearchStrategy[tuple[str, bytes]]:
    """One of these JSON files with values changed, by its name."""

    def build(dice: Dice) -> tuple[str, bytes]:
        name = dice.one(list(files))
        return name, cut(to_json(changed(json.loads(json.dumps(files[name])), dice)), dice, max(0, dice.below(6) - 4))

    return made(build)


def _encode(content: Any) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def beside(files: Mapping[str, Any], name: str, read: Callable[[Path], object]) -> Callable[[Path], Any]:
    """A `prepare` for a reader of a folder with these files, in which one is replaced."""

    def prepare(folder: Path) -> Callable[[bytes], object]:
        _fill(folder, files)

        def run(content: bytes) -> object:
            (folder / name).write_bytes(content)
            return read(folder)

        return run

    return prepare


def warm(prepare: Callable[[Path], Any], *valid: bytes) -> Callable[[Path], Any]:
    """The same once the right files were read, so that no case waits for what is imported for the first."""

    def prepared(folder: Path) -> Callable[[bytes], object]:
        read = prepare(folder)
        for each in valid:
            read(each)
        return read  # type: ignore[no-any-return]

    return prepared


def among(files: Mapping[str, Any], read: Callable[[Path], object]) -> Callable[[Path], Any]:
    """The same, in which the case says which one; it is put back afterwards."""

    def prepare(folder: Path) -> Callable[[tuple[str, bytes]], object]:
        _fill(folder, files)

        def run(case: tuple[str, bytes]) -> object:
            path = folder / case[0]
            path.write_bytes(case[1])
            try:
                return read(folder)
            finally:
                path.write_bytes(_encode(files[case[0]]))

        return run

    return prepare


def _fill(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_encode(content))
    tiny.write_tokenizer(folder)


def _weights(path: Path) -> object:
    check_safetensors(path)
    require_floats([path], "x")
    return require_plausible(CONFIG, [path], "x")


def _config(folder: Path) -> object:
    return require_plausible(configuration(folder, "x"), [folder / "model.safetensors"], "x")


def _whole(folder: Path) -> object:
    return resolve(str(folder), cache=folder.parent / f"{folder.name}-cache")


def _index(folder: Path) -> object:
    return [check_safetensors(path) for path in weight_files(folder, "x")]


def _encoder(folder: Path) -> object:
    sentence.task_of(folder)
    found = sentence.pooling(folder)
    sentence.check_width(found, 4, "x")
    return found


def _ranker(folder: Path) -> object:
    return sentence.task_of(folder), sentence.activation(folder, CONFIG)


def _tokenizer(folder: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = load_tokenizer(folder)
        return sentence.fit_tokenizer(tokenizer, folder)


def _pickle() -> bytes:
    content = io.BytesIO()
    torch.save({"a.weight": torch.ones(2, 3), "b": torch.zeros(2)}, content)
    return content.getvalue()


def _unpickled(folder: Path) -> object:
    return convert(folder, "x", folder / "out" / uuid.uuid4().hex)


MODEL = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
CHAIN = {**ENCODER, "2_Dense/model.safetensors": DENSE, "3_LayerNorm/model.safetensors": NORM}
SHARD = "model-00001-of-00001.safetensors"
CODES = frozenset({4})
READERS = (
    Reader("safetensors", CODES, safetensors(WEIGHTS), at("model.safetensors", _weights)),
    Reader(
        "index", CODES, json_files(_encode(INDEX)), beside({SHARD: WEIGHTS}, "model.safetensors.index.json", _index)
    ),
    Reader("config", CODES, json_files(_encode(CONFIG), _encode(LLAMA)), beside(MODEL, "config.json", _config)),
    Reader(
        "checkpoint",
        CODES | {2},
        json_files(_encode(CONFIG), _encode(LLAMA)),
        warm(beside(MODEL, "config.json", _whole), _encode(CONFIG), _encode(LLAMA)),
        cost=25,
    ),
    Reader(
        "tokenizer-settings",
        CODES,
        json_files(_encode(TOKENIZER)),
        warm(beside(MODEL, "tokenizer_config.json", _tokenizer), _encode(TOKENIZER)),
        cost=10,
    ),
    Reader("modules", CODES, several(ENCODER), among(CHAIN, _encoder)),
    Reader("module-weights", CODES, safetensors(DENSE), beside(CHAIN, "2_Dense/model.safetensors", _encoder)),
    Reader("ranker", CODES, several(RANKER), among(RANKER, _ranker)),
    Reader(
        "adapter-config",
        CODES,
        json_files(_encode(LORA)),
        beside({"adapter_model.safetensors": LORA_WEIGHTS}, "adapter_config.json", lambda path: find([str(path)])),
    ),
    Reader(
        "adapter-weights",
        CODES,
        safetensors(LORA_WEIGHTS),
        beside({"adapter_config.json": LORA}, "adapter_model.safetensors", lambda path: find([str(path)])),
    ),
    Reader(
        "pickle", CODES, zip_files(_pickle()), beside({"config.json": CONFIG}, "pytorch_model.bin", _unpickled), cost=5
    ),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_checkpoints_are_refused(reader: Reader) -> None:
    reader.check()


def test_names_that_no_file_system_has_are_refused(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "a" * 5000 + ".safetensors"}}
    with pytest.raises(CheckpointError, match="outside"):
        beside({}, "model.safetensors.index.json", _index)(tmp_path)(_encode(index))
    modules = [MODULES[0], {**MODULES[1], "path": "a" * 5000}]
    with pytest.raises(CheckpointError, match="elsewhere"):
        beside(CHAIN, "modules.json", _encoder)(tmp_path)(_encode(modules))
