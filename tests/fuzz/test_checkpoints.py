"""What lies in a checkpoint's folder: configuration, weights, their index, modules of sentence encoders, adapters."""

from __future__ import annotations

import json
import struct
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compiler.checkpoint import resolve, sentence
from compiler.checkpoint.accounted import unread
from compiler.checkpoint.adapter import Adapter, find
from compiler.checkpoint.apart import require_same_texts
from compiler.checkpoint.declared import configuration
from compiler.checkpoint.load import load_tokenizer
from compiler.checkpoint.sane import require_plausible
from compiler.checkpoint.sentence.reference import Pooler
from compiler.checkpoint.weights import check_safetensors, require_floats, weight_files
from compiler.errors import CheckpointError
from tests import models as tiny
from tests.fuzz.checkpoints import (
    CONFIG,
    DENSE,
    ENCODER,
    INDEX,
    LLAMA,
    LORA,
    LORA_WEIGHTS,
    MODULES,
    NORM,
    ODD,
    RANKER,
    TOKENIZER,
    WEIGHTS,
    used,
)
from tests.fuzz.mutate import Cases, Dice, changed, cut, json_files, to_json
from tests.fuzz.reader import Reader, at


def safetensors(*valid: bytes) -> Cases:
    """These files with values of the header changed and its length right, mostly; sometimes with bytes changed."""

    def build(dice: Dice) -> bytes:
        content = dice.one(valid)
        size = struct.unpack("<Q", content[:8])[0]
        header = to_json(changed(json.loads(content[8 : 8 + size]), dice))
        return cut(struct.pack("<Q", len(header)) + header + content[8 + size :], dice, max(0, dice.below(6) - 3))

    return build


def several(files: Mapping[str, Any]) -> Cases:
    """One of these JSON files with values changed, by its name."""

    def build(dice: Dice) -> tuple[str, bytes]:
        name = dice.one(list(files))
        return name, cut(to_json(changed(json.loads(json.dumps(files[name])), dice)), dice, max(0, dice.below(6) - 4))

    return build


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


def _accounted(folder: Path) -> object:
    found = configuration(folder, "x")
    return unread({**found, "model_type": "bert" if found["model_type"] == "bert" else "llama"}, "x")


def _whole(folder: Path) -> object:
    return resolve(str(folder), cache=folder.parent / f"{folder.name}-cache")


def _index(folder: Path) -> object:
    return [check_safetensors(path) for path in weight_files(folder, "x")]


def _encoder(folder: Path) -> object:
    sentence.task_of(folder)
    found = sentence.pooling(folder)
    sentence.check_width(found, 4, "x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Pooler(folder, torch.float32)(np.ones((1, 2, 4), np.float32), np.ones((1, 2)))


def _ranker(folder: Path) -> object:
    return sentence.task_of(folder), sentence.activation(folder, CONFIG)


def _tokenizer(folder: Path) -> object:
    sentence.fit_tokenizer(load_tokenizer(folder), folder)
    return used(folder)


def _apart(folder: Path) -> Callable[[tuple[str, bytes]], object]:
    """The tokenizer and the templates of an adapter that is kept apart."""
    base, own = folder / "base", folder / "adapter"
    for each in (base, own):
        each.mkdir()
        tiny.write_tokenizer(each)
        (each / "chat_template.jinja").write_text(tiny.CHAT_TEMPLATE)
    adapter = Adapter(name="a", source=SOURCE, folder=own, config={}, location="a")

    def run(case: tuple[str, bytes]) -> object:
        valid = (base / case[0]).read_bytes()
        (own / case[0]).write_bytes(case[1])
        try:
            return require_same_texts(adapter, base)
        finally:
            (own / case[0]).write_bytes(valid)

    return run


def _texts() -> Cases:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        tiny.write_tokenizer(Path(folder))
        files = {path.name: json.loads(path.read_bytes()) for path in sorted(Path(folder).glob("*.json"))}
    return several(files | {"tokenizer_config.json": TOKENIZER | {"chat_template": tiny.CHAT_TEMPLATE}})


SOURCE = tiny.manifest("encoder", (), ()).source
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
        "accounted",
        CODES,
        json_files(_encode(CONFIG), _encode(ODD)),
        warm(beside(MODEL, "config.json", _accounted), _encode(CONFIG), _encode(ODD)),
        cost=0.5,
    ),
    Reader(
        "checkpoint",
        CODES | {2},
        json_files(_encode(CONFIG), _encode(LLAMA)),
        warm(beside(MODEL, "config.json", _whole), _encode(CONFIG), _encode(LLAMA)),
        cost=2,
    ),
    Reader(
        "tokenizer-settings",
        CODES,
        json_files(_encode(TOKENIZER)),
        warm(beside(MODEL, "tokenizer_config.json", _tokenizer), _encode(TOKENIZER)),
        cost=4,
        suite=1000,
    ),
    Reader("texts-apart", CODES, _texts(), _apart),
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
